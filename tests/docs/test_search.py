"""What people look for stands first in the site's search, in a real browser."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import REPOSITORY

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ..serve.test_page import browser as browser
from ..serve.test_page import needs_browser

FIRST = {
    "early stopping": "training.html#early-stopping",
    "confidence threshold": "recipes.html#confidence-threshold-by-class-too",
    "class names": "recipes.html#class-names",
    "onnx": "export.html#the-onnx-file",
    "resize": "recipes.html#resize-how-an-image-reaches-the-network",
}
TYPE = """
const field = document.querySelector(".md-search__input");
document.querySelector("#__search").checked = true;
field.focus();
field.value = arguments[0];
for (const kind of ["input", "keyup"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@needs_browser
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason='pip install "yolov4sdk[docs]"'
)
def test_what_is_asked_for_stands_first(site: str, browser: Any) -> None:
    browser.get(f"{site}/index.html")
    for words, target in FIRST.items():
        page, anchor = target.split("#")
        browser.execute_script(TYPE, words)

        def links(_: Any, words: str = words) -> list[str] | None:
            found = browser.find_elements(By.CSS_SELECTOR, "a.md-search-result__link")[:2]
            names = [Path(link.get_attribute("href")).name for link in found]
            # the marks of this question, not those of the last one
            return names if any(words.split()[0] in name for name in names) else None

        gone = [StaleElementReferenceException]  # the list is written anew while it is read
        first, section = WebDriverWait(browser, 60, ignored_exceptions=gone).until(links)
        assert first.split("?")[0] == page, words
        assert section.split("?")[0] == page and section.endswith(f"#{anchor}"), words
