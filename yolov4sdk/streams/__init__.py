"""Videos, live sources and writing them."""
