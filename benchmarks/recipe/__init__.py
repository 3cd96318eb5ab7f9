"""The trainer's defaults against ultralytics' on a bench of data sets."""
