"""The HTTP server: operations, bodies, errors, authentication, OpenAPI."""
