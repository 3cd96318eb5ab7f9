"""The page in a real browser: an image in, boxes visible, sliders that change them, words."""

from __future__ import annotations

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from serve.problems import Problem
from serve.routes import reference
from serve.routes.page import TYPES as page_files
from tests.docs.sandbox import write_video
from tests.support.service import Service
from yolov4sdk import Detections
from yolov4sdk.imaging.palette import palette

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


def strip(page: Page) -> list[Any]:
    return page.browser.find_elements(By.CSS_SELECTOR, "#strip button")


def tick(page: Page, name: str) -> None:
    page.browser.find_element(By.CSS_SELECTOR, f'#classes input[value="{name}"]').click()


@needs_browser
def test_five_images(page: Page, live: str, photos_dir: Path) -> None:
    photos = sorted(photos_dir.glob("*.[jp][pn]g"))[:5]
    page.get("file").send_keys("\n".join(map(str, photos)))
    page.until(lambda: [thumb.text for thumb in strip(page)].count("") == 0)
    for number, photo in enumerate(photos):
        strip(page)[number].click()
        expected = detections(live, photo, conf=0.25)
        assert strip(page)[number].text == str(len(expected)) == str(len(page.boxes))
        assert photo.name in page.get("curl").text
    strip(page)[4].send_keys(Keys.ARROW_LEFT)
    assert strip(page)[3].get_attribute("aria-current") == "true"
    names = {row.split()[0] for row in page.rows}
    tick(page, first := sorted(names)[0])
    left = [f for f in detections(live, photos[3], conf=0.25) if f["name"] != first]
    assert len(page.boxes) == len(left) and f"classes={first}" not in page.get("curl").text
    tick(page, first)
    page.get("clear").click()
    assert not strip(page) and not page.boxes and page.get("empty").is_displayed()


@needs_browser
def test_labels_do_not_cover_each_other(page: Page, photos_dir: Path) -> None:
    page.open(photos_dir / "horses.jpg")
    page.answered()
    while len(page.boxes) > 60:
        page.slide("conf", Keys.ARROW_RIGHT, 4)
    assert len(page.boxes) > 15
    rects = page.browser.execute_script(
        "return [...document.querySelectorAll('.tag')].map((tag) => tag.getBoundingClientRect())"
    )
    corners = np.array([[r["x"], r["y"], r["x"] + r["width"], r["y"] + r["height"]] for r in rects])
    sides = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
        corners[:, None, :2], corners[None, :, :2]
    )
    shared = np.triu(sides.clip(0).prod(2), 1).sum()
    assert shared <= 0.05 * (corners[:, 2:] - corners[:, :2]).prod(1).sum()
    width = page.get("boxes").rect["width"]
    page.get("zoom-in").click()
    assert page.get("boxes").rect["width"] == pytest.approx(1.5 * width, rel=0.02)
    page.get("frame").send_keys("0")
    assert page.get("boxes").rect["width"] == pytest.approx(width, rel=0.02)


@needs_browser
def test_downloads(page: Page, live: str, photos_dir: Path, tmp_path: Path) -> None:
    page.browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.open(photos_dir / "dog.jpg")
    page.answered()
    for name in ("save-json", "save-csv", "save-yolo", "save-picture"):
        page.get(name).click()
    wanted = {"dog.json", "dog.csv", "dog.txt", "dog-boxes.jpg"}
    page.until(lambda: {path.name for path in tmp_path.iterdir()} == wanted)
    expected = detections(live, photos_dir / "dog.jpg", conf=0.25)
    assert json.loads((tmp_path / "dog.json").read_text())["detections"] == expected
    rows = list(csv.DictReader((tmp_path / "dog.csv").open(newline="")))
    assert [float(row["x2"]) for row in rows] == [found["box"]["x2"] for found in expected]
    found = Detections(
        np.array([list(f["box"].values()) for f in expected], np.float32),
        np.array([f["score"] for f in expected], np.float32),
        np.array([f["class_id"] for f in expected]),
        ("a", "b", "c"),
        (576, 768),
    )
    lines = [[float(v) for v in line.split()] for line in (tmp_path / "dog.txt").open()]
    own = [[float(v) for v in line.split()] for line in found.to_yolo().splitlines()]
    np.testing.assert_allclose(lines, own, atol=2e-6)
    drawn = cv2.imread(str(tmp_path / "dog-boxes.jpg"))
    plain = cv2.imread(str(photos_dir / "dog.jpg"))
    assert drawn.shape == plain.shape and cv2.absdiff(drawn, plain).max() > 100


@needs_browser
def test_video(page: Page, photos_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_video(tmp_path / "dog.mp4", photos_dir / "dog.jpg", frames=60)
    page.open(tmp_path / "dog.mp4")
    page.until(lambda: "frames/s" in page.get("rate").text or page.error)
    assert not page.error and page.boxes and page.get("video").is_displayed()
    page.browser.execute_script("document.getElementById('video').pause()")
    page.open(photos_dir / "dog.jpg")  # and on to another
    page.answered()
    assert page.get("picture").is_displayed() and not page.get("video").is_displayed()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    page.open(broken)
    page.until(lambda: "cannot play broken.mp4" in page.error)


@needs_browser
def test_a_refused_file_takes_the_place_of_the_result(page: Page, tmp_path: Path) -> None:
    page.browser.find_element(By.CSS_SELECTOR, "#examples button").click()  # an example photograph
    page.answered()
    assert page.boxes
    (tmp_path / "words.txt").write_text("no image")
    page.open(tmp_path / "words.txt")
    page.until(lambda: page.error)
    assert not page.boxes and not page.get("view").is_displayed()
    assert not page.get("results").is_displayed()
    frame, error = page.get("frame").rect, page.get("error").rect
    assert frame["y"] < error["y"] < frame["y"] + frame["height"]
    strip(page)[0].click()
    assert page.boxes and not page.error


@needs_browser
def test_heic_of_a_phone(page: Page, photos_dir: Path, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = cv2.imread(str(photos_dir / "dog.jpg"))[..., ::-1].copy()
    heif.from_bytes("RGB", (768, 576), image.tobytes()).save(tmp_path / "dog.heic")
    page.open(tmp_path / "dog.heic")
    page.answered()
    picture = "document.getElementById('picture').naturalWidth"
    page.until(lambda: page.browser.execute_script(f"return {picture}") == 768)
    assert page.boxes and "@dog.heic" in page.get("curl").text


@needs_browser
def test_by_keyboard(page: Page) -> None:
    """From the top of the page to an example, its class and its zoom, with Tab and Enter."""

    def tab_to(name: str) -> Any:
        for _ in range(40):
            webdriver.ActionChains(page.browser).send_keys(Keys.TAB).perform()
            element = page.browser.switch_to.active_element
            said = (element.get_attribute("id"), element.accessible_name)
            if name in said:
                return element
        raise AssertionError(f"{name} cannot be reached")

    tab_to("Photograph of a dog").send_keys(Keys.ENTER)
    page.answered()
    width = page.get("boxes").rect["width"]
    tab_to("frame").send_keys("+")
    assert page.get("boxes").rect["width"] > width
    before = len(page.boxes)
    tab_to("conf").send_keys(Keys.ARROW_RIGHT * 30)
    fewer = len(page.boxes)
    assert 0 < fewer < before
    tab_to(page.rows[0].split()[0]).send_keys(Keys.SPACE)
    assert len(page.boxes) < fewer


@needs_browser
def test_nothing_serious_for_axe(page: Page, photos_dir: Path, tmp_path: Path) -> None:
    """Empty, with results, with an error; light and dark; wide and as narrow as a phone."""
    package = pytest.importorskip("axe_playwright_python", reason="no axe.min.js")
    script = next(Path(package.__path__[0]).rglob("axe.min.js")).read_text(encoding="utf-8")

    def audit() -> list[str]:
        page.browser.execute_script(script)
        found = page.browser.execute_async_script("axe.run().then(arguments[0])")["violations"]
        return [
            f"{item['impact']} {item['id']}: {[node['target'] for node in item['nodes']]}"
            for item in found if item["impact"] in ("serious", "critical")
        ]  # fmt: skip

    def media(scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    (tmp_path / "words.txt").write_text("no image")
    assert not audit()
    page.open(tmp_path / "words.txt")
    page.until(lambda: page.error)
    assert not audit()
    page.open(photos_dir / "dog.jpg")
    page.answered()
    page.slide("conf", Keys.ARROW_RIGHT, 30)
    assert page.boxes and not audit()
    try:
        media("dark")
        assert not audit()
        phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        assert not audit()
        assert page.browser.execute_script("return document.documentElement.scrollWidth") == 360
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        media("light")


@needs_browser
def test_the_api_is_shown_without_any_other_host(page: Page, live: str) -> None:
    if httpx.get(f"{live}/docs").status_code == 404:
        pytest.skip("fastapi-offline is not installed")
    page.browser.get(f"{live}/docs")
    page.until(lambda: page.browser.find_elements(By.CSS_SELECTOR, ".opblock"))
    text = page.browser.find_element(By.TAG_NAME, "body").text
    assert "/v1/detect/batch" in text and not page.complaints()
    asked = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert len(asked) >= 4 and all(url.startswith(live) for url in asked)


def test_the_api_page_names_what_is_missing(live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert httpx.get(f"{live}/docs/elsewhere.js").status_code == 404
    monkeypatch.setattr(reference, "_PACKAGE", "not_installed_here")
    with pytest.raises(Problem, match=r'pip install "yolov4sdk\[serve\]"'):
        reference._folder()


def test_the_page_has_the_colors_of_drawings(live: str) -> None:
    colors = httpx.get(f"{live}/static/palette.json").json()
    blue, green, red = palette(300)[17]
    assert len(colors) == 300 and colors[17][0] == f"#{red:02x}{green:02x}{blue:02x}"
    assert colors[0] == ["#e69f00", "#000000"]


def test_nothing_from_elsewhere(live: str) -> None:
    """The files name no other host, and the headers forbid it."""
    answer = httpx.get(f"{live}/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    kinds = {".js": "javascript", ".css": "css", ".svg": "svg", ".html": "html", ".jpg": "jpeg"}
    for name in page_files:
        file = httpx.get(f"{live}/static/{name}")
        kind = kinds[Path(name).suffix]
        assert file.status_code == 200 and kind in file.headers["content-type"]
        if kind == "jpeg":
            continue
        links = re.findall(r"""["'(](?:https?:)?//[^"')]*""", file.text)
        assert links in ([], ['"http://www.w3.org/2000/svg'])  # a name space, not a link
    for name in ("index.htm", "..%2fpage.py", "%2e%2e/app.py"):
        assert httpx.get(f"{live}/static/{name}").status_code == 404
