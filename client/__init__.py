"""A small client of Polyphony's HTTP interface: for the command line, the canary, evaluations and benchmarks."""
