"""gRPC: the server and client of a process, the context of a request, and errors."""
