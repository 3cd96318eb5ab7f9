"""What `python -m benchmarks` runs: one module a subject, each with `measure`."""
