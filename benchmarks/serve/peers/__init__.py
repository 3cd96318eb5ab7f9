"""Other servers with the same ONNX model, each in an environment of its own."""
