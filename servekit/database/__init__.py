"""Postgres: connections that outlive its restarts, schemas and their migrations, row-level security by tenant."""
