"""The service's acceptance checks and figures: `python -m benchmarks.serve.NAME`."""
