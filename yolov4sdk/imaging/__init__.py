"""Images: reading, decoding, letterboxing, drawing."""
