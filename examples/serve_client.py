"""Ask a running `yolov4sdk serve`: `python examples/serve_client.py [IMAGE [URL [KEY]]]`.

Python's own library is enough; any language that can send a POST will do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CAT = Path(__file__).parent / "images" / "chelsea.png"


def main(image: str | Path = CAT, url: str = "http://127.0.0.1:8000", key: str = "") -> int:
    """Print a line for each box; 1 when the service refuses, with its reason."""
    headers = {"Content-Type": "application/octet-stream"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = Request(f"{url}/v1/detect?conf=0.25", Path(image).read_bytes(), headers)
    try:
        with urlopen(request, timeout=30) as response:
            answer = json.load(response)
    except HTTPError as error:  # the body says why (RFC 9457)
        print(error.code, error.read().decode(), file=sys.stderr)
        return 1
    for found in answer["detections"]:
        print(found["name"], found["score"], found["box"])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
