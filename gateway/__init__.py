"""The front door: it composes the services and owns no model."""
