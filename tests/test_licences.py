"""The licence report: what is found, what is refused, and that the kept one is not stale."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from benchmarks.licences import (
    REPORT,
    bundled,
    collect,
    is_gpl,
    problems,
)


@pytest.mark.parametrize(
    ("licence", "gpl"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("MIT AND GPL-2.0-only", True),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("Apache-2.0", False),
    ],
)
def test_what_is_gpl(licence: str, gpl: bool) -> None:
    assert is_gpl(licence) is gpl


class File:
    """One file of a wheel."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.name, path

    def locate(self) -> Path:
        return self._path


class Package:
    """What the report asks of a distribution."""

    def __init__(
        self, name: str, licence: str, requires: tuple[str, ...] = (), **more: Any
    ) -> None:
        self.name, self.version, self.requires = name, "1.0", list(requires)
        self.files = more.get("files", [])
        self.metadata = Message()
        self.metadata["License"] = licence
        for extra in more.get("extras", ()):
            self.metadata["Provides-Extra"] = extra


def finder(*packages: Package):
    table = {package.name: package for package in packages}

    def find(name: str) -> Any:
        try:
            return table[name]
        except KeyError:
            raise PackageNotFoundError(name) from None

    return find


def test_the_gpl_is_refused_in_the_core_and_told_in_an_extra() -> None:
    def find(marker: str) -> Any:
        root = Package("root", "MIT", (f"free{marker}", "gone; extra == 'x'"), extras=["x"])
        return finder(root, Package("free", "MIT", ("bound",)), Package("bound", "GPLv3"))

    entries, missing = collect(find(""), "root")
    assert problems(entries) == ["bound is under the GPL, and the core needs it"]
    assert missing == ["gone"]
    entries, _ = collect(find("; extra == 'x'"), "root")
    assert not problems(entries)
    assert [(e.name, set(e.extras)) for e in entries] == [("bound", {"x"}), ("free", {"x"})]


def test_a_codec_under_the_gpl_is_found_inside_a_wheel(tmp_path: Path) -> None:
    names = ("libavcodec-1a2b.so.61", "libx264-3c.so.164", "libvpx-4d.so.9", "module.so")
    for name in names:
        (tmp_path / name).write_bytes(b"--enable-gpl" if "avcodec" in name else b"")
    files = [File(tmp_path / name) for name in names]
    assert dict(bundled(Package("av", "BSD", files=files))) == {
        "libavcodec": "GPL-2.0-or-later",
        "libx264": "GPL-2.0-or-later",
        "libvpx": "BSD-3-Clause",
    }
    (tmp_path / names[0]).write_bytes(b"--enable-shared")
    assert dict(bundled(Package("av", "BSD", files=files)))["libavcodec"] == "LGPL-2.1-or-later"
    entries, _ = collect(
        finder(Package("root", "MIT", ("av",)), Package("av", "BSD", files=files)), "root"
    )
    assert problems(entries) == ["libx264 in av is under the GPL, and the core needs it"]


def test_an_unknown_licence_is_refused() -> None:
    packages = finder(Package("root", "MIT", ("odd",)), Package("odd", "UNKNOWN"))
    assert problems(collect(packages, "root")[0]) == ["the licence of odd is unknown"]


def test_this_environment_keeps_the_rule_and_the_report_names_its_core() -> None:
    entries, _ = collect()
    assert problems(entries) == []
    core = {entry.name for entry in entries if "" in entry.extras}
    direct = {"numpy", "opencv-python-headless", "rich", "simplejpeg", "typer"}
    assert direct <= core
    kept = REPORT.read_text()
    assert all(f"| {name} |" in kept for name in direct)
