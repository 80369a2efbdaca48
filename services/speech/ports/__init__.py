"""What the service asks of its models: one port a task, with what goes in and what comes out."""
