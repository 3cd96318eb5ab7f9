"""Detection on many machines, with Ray."""
