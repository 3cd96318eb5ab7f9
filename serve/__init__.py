"""The REST service; not written yet."""
