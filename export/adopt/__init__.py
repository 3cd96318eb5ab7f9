"""Foreign ONNX files made into our own: decoding appended, normalisation put in front."""
