"""The modalities: a folder is a deployable, and owns its models and its GPU."""
