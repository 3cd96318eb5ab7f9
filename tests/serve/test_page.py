"""The page in a real browser: an image in, boxes visible, sliders that change them, words."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.service import Service

from .conftest import USER

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and its driver are not installed"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,900",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        yield browser
        browser.quit()


class Page:
    """What a person does on the page and sees there."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.until(lambda: self.get("model").text or self.error)

    def get(self, name: str) -> Any:
        return self.browser.find_element(By.ID, name)

    def until(self, condition: Any) -> Any:
        return WebDriverWait(self.browser, 30).until(lambda _: condition())

    def open(self, path: Path) -> None:
        self.get("file").send_keys(str(path))

    def answered(self) -> str:
        return self.until(lambda: "answered in" in self.status and self.status)

    def slide(self, name: str, key: str, times: int) -> None:
        self.get(name).send_keys(key * times)

    @property
    def status(self) -> str:
        return self.get("status").text

    @property
    def error(self) -> str:
        return self.get("error").text

    @property
    def boxes(self) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, ".box")

    @property
    def rows(self) -> list[str]:
        return [row.text for row in self.browser.find_elements(By.CSS_SELECTOR, "#rows tr")]

    def complaints(self) -> list[str]:
        """What the browser complains about; an answer with an error status is none of it."""
        log = [entry["message"] for entry in self.browser.get_log("browser")]
        return [line for line in log if "Failed to load resource" not in line]


@pytest.fixture
def page(browser: Any, live: str) -> Page:
    return Page(browser, live)


def detections(url: str, photo: Path, **query: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}/v1/detect", params=query, content=photo.read_bytes())
    found: list[dict[str, Any]] = answer.json()["detections"]
    return found


@needs_browser
def test_boxes_of_an_upload(page: Page, live: str, photos_dir: Path) -> None:
    photo = photos_dir / "dog.jpg"
    page.open(photo)
    assert page.answered().split()[0].isdigit()
    expected = detections(live, photo, conf=0.25)
    assert len(page.boxes) == len(page.rows) == len(expected) > 0
    picture = page.get("picture").rect
    assert picture["width"] > 300
    shown = {round(box.rect["x"] - picture["x"]) for box in page.boxes if box.is_displayed()}
    scale = picture["width"] / 768
    for found in expected:
        assert any(abs(found["box"]["x1"] * scale - x) <= 1.5 for x in shown), found
    assert (
        f"{expected[0]['name']}" in page.rows[0] and f"{expected[0]['score']:.3f}" in page.rows[0]
    )
    assert page.get("picture").get_attribute("alt").startswith("The image, ")
    assert not page.complaints()


@needs_browser
def test_sliders_change_the_boxes(page: Page, live: str, photos_dir: Path) -> None:
    photo = photos_dir / "dog.jpg"
    page.open(photo)
    page.answered()
    before = len(page.boxes)
    page.slide("conf", Keys.ARROW_RIGHT, 20)  # by the keyboard: 0.25 to 0.45
    assert page.get("conf-value").text == "0.45"
    good = len(page.boxes)
    assert good == len(detections(live, photo, conf=0.45)) < before
    assert "conf=0.45" in page.get("curl").text
    page.slide("iou", Keys.ARROW_LEFT, 7)  # 0.45 to 0.10: the service is asked again
    fewer = len(detections(live, photo, conf=0.45, iou=0.1))
    assert 0 < fewer < good
    page.until(lambda: len(page.boxes) == fewer)
    page.slide("conf", Keys.END, 1)
    assert len(page.boxes) == len(detections(live, photo, conf=0.95, iou=0.1)) < fewer


@needs_browser
def test_another_model(page: Page, photos_dir: Path) -> None:
    page.open(photos_dir / "horses.jpg")
    page.answered()
    page.slide("model", Keys.ARROW_DOWN, 1)
    page.until(lambda: "model=common" in page.get("curl").text and "answered" in page.status)
    assert not set("".join(page.rows).split()) & {"ant", "bee"}


@needs_browser
def test_errors_in_words(page: Page, tmp_path: Path, photos_dir: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((photos_dir / "dog.jpg").read_bytes()[:300])
    page.open(broken)
    words = page.until(lambda: page.error)
    assert len(words.split()) > 3 and "undefined" not in words
    assert page.get("error").get_attribute("role") == "alert" and not page.boxes
    page.open(photos_dir / "dog.jpg")
    page.answered()
    assert not page.error and page.boxes
    text = tmp_path / "words.txt"
    text.write_text("no image")
    page.open(text)
    page.until(lambda: page.error == "words.txt is not an image (text/plain).")


@needs_browser
def test_api_key(browser: Any, guarded: Service, photos_dir: Path) -> None:
    page = Page(browser, f"http://127.0.0.1:{guarded.port}/")
    assert "key" in page.until(lambda: page.error) and page.get("key").is_displayed()
    page.get("key").send_keys(USER + Keys.TAB)
    page.until(lambda: not page.error and page.get("model").text)
    page.open(photos_dir / "horses.jpg")
    page.answered()
    assert USER not in page.browser.page_source and "$API_KEY" in page.get("curl").text


@needs_browser
def test_camera(page: Page) -> None:
    page.get("camera").click()
    page.until(lambda: "object" in page.status)
    assert page.get("video").is_displayed()
    page.get("camera").click()
    page.until(lambda: page.get("picture").is_displayed())  # it has no size until it is decoded
    assert not page.error and not page.complaints()


@needs_browser
def test_copy_and_paste(page: Page, live: str, photos_dir: Path) -> None:
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": live, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.browser.execute_async_script(
        """const [bytes, done] = arguments; const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", {type: "image/jpeg"}));
        document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data})); done();""",
        list((photos_dir / "dog.jpg").read_bytes()),
    )
    page.answered()
    page.get("copy-json").click()
    page.until(lambda: page.get("copy-json").text == "Copied")
    copied = page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    found = json.loads(copied)
    assert len(found["detections"]) == len(page.boxes) and found["image"]["width"] == 768
    assert "@pasted.jpg" in page.get("curl").text


@needs_browser
def test_names_for_screen_readers(page: Page, photos_dir: Path) -> None:
    """Every control has a name, and the tree that screen readers get says what was found."""
    page.open(photos_dir / "dog.jpg")
    page.answered()
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree if not node["ignored"]
    }  # fmt: skip
    roles = {role for role, _ in named}
    assert {"button", "slider", "combobox", "status", "table", "heading", "main"} <= roles
    controls = [name for role, name in named if role in {"button", "slider", "combobox"}]
    assert len(controls) >= 7 and all(controls)


def test_nothing_from_elsewhere(live: str) -> None:
    """The files name no other host, and the headers forbid it."""
    answer = httpx.get(f"{live}/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name, kind in (("page.js", "javascript"), ("page.css", "css"), ("icon.svg", "svg")):
        file = httpx.get(f"{live}/static/{name}")
        assert file.status_code == 200 and kind in file.headers["content-type"]
        links = re.findall(r"""["'(](?:https?:)?//[^"')]*""", file.text)
        assert links in ([], ['"http://www.w3.org/2000/svg'])  # a name space, not a link
    for name in ("index.htm", "..%2fpage.py", "%2e%2e/app.py"):
        assert httpx.get(f"{live}/static/{name}").status_code == 404
