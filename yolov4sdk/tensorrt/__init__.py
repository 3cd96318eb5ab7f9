"""TensorRT engines: built from ONNX files, each described by a sidecar.

Importing this package loads no TensorRT.
"""
