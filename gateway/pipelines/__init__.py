"""What the gateway does with several services: a file per use case, and the types and steps that they share."""
