"""The REST service: `uvicorn serve.app:app`, or `yolov4sdk serve`."""
