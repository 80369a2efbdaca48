"""How good the answers of a running fleet are: metrics, and the canary set that is replayed against it."""
