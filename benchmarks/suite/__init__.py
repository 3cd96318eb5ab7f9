"""The runner of `python -m benchmarks`: parts, what they found, and how it is shown."""
