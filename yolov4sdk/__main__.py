"""`python -m yolov4sdk` is the `yolov4sdk` command."""

from .cli import main

main()
