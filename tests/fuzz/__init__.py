"""A fuzzer of every file that is read from strangers."""
