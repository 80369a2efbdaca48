"""What memory the models of a profile need, on which GPUs they fit, and how many replicas a rate of requests takes."""
