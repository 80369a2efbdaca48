"""What callers send and get, one file per HTTP resource."""
