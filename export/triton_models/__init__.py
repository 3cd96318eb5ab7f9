"""Models of Triton's Python backend: each file is copied as `model.py` into a repository.

They run inside Triton, whose Python needs yolov4sdk (and a runtime for `network.py`) installed;
pre- and post-processing are those of the SDK.
"""
