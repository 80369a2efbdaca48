"""Admission control, queues and the schedulers that feed engines."""
