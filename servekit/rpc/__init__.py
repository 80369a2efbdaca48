"""gRPC: the server and client of a process, what travels with a call, and errors."""
