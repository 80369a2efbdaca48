"""What the gateway does with several services, one file per use case."""
