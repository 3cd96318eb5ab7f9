"""TensorRT engines: built from ONNX files, with a sidecar that says what they are.

Importing this package loads no TensorRT.
"""
