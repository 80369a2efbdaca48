"""One machine: the `polyphony` command, which starts and watches the processes."""
