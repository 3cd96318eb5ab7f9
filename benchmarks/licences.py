"""Licences of every dependency and bundled codec: `python -m benchmarks.licences [--write]`.

Follows the requirements of the core and of each extra through what is installed, and looks into the
wheels for libraries they bundle. Exit code 1 where the core needs anything under the GPL or AGPL,
or where a licence is unknown; in an extra the GPL is only told. `--write` keeps docs/licences.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from yolov4sdk.system.files import atomic_write

REPORT: Final = Path(__file__).parent.parent / "docs" / "licences.md"
SKIPPED: Final = ("dev",)
BUNDLED: Final = {
    "libavcodec": "LGPL-2.1-or-later", "libavformat": "LGPL-2.1-or-later",
    "libavutil": "LGPL-2.1-or-later", "libswscale": "LGPL-2.1-or-later",
    "libswresample": "LGPL-2.1-or-later", "libavfilter": "LGPL-2.1-or-later",
    "libavdevice": "LGPL-2.1-or-later", "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later", "libpostproc": "GPL-2.0-or-later", "libvpx": "BSD-3-Clause",
    "libaom": "BSD-2-Clause", "libdav1d": "BSD-2-Clause", "libSvtAv1Enc": "BSD-3-Clause",
    "libopus": "BSD-3-Clause", "libmp3lame": "LGPL-2.0-or-later", "libopenh264": "BSD-2-Clause",
    "libturbojpeg": "BSD-3-Clause", "libjpeg": "BSD-3-Clause", "libwebp": "BSD-3-Clause",
    "libtiff": "libtiff", "libpng": "libpng-2.0", "libopenjp2": "BSD-2-Clause",
    "libavif": "BSD-2-Clause", "libheif": "LGPL-3.0-or-later", "libde265": "LGPL-3.0-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later", "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
}  # fmt: skip
"""Codecs and runtimes that wheels bundle. The GCC exception allows linking under any licence."""
KNOWN: Final = {"faster-coco-eval": "Apache-2.0"}
"""Licences that the metadata of a package leaves out, as its repository states them."""


@dataclass(frozen=True)
class Entry:
    """One package and what it brings.

    Attributes:
        extras: that need it; "" is the core.
        bundled: codec and runtime libraries in its wheel, each with its licence.
    """

    name: str
    version: str
    licence: str
    extras: frozenset[str]
    bundled: tuple[tuple[str, str], ...] = ()

    @property
    def copyleft(self) -> list[str]:
        """What of it is under the GPL or AGPL."""
        found = [self.name] if is_gpl(self.licence) else []
        return found + [f"{library} in {self.name}" for library, licence in self.bundled
                        if is_gpl(licence)]  # fmt: skip


def is_gpl(licence: str) -> bool:
    """Whether a licence is the GPL or AGPL; the LGPL and the GCC exception are not."""
    text = re.sub(r"\([^()]*\bOR\b[^()]*\)", "", licence)  # a choice that leaves another way
    text = re.sub(r"GPL-[\w.-]+ WITH GCC-exception-[\d.]+", "", text)
    return bool(re.search(r"(?<!L)A?GPL|(?<!Lesser )(?<!Library )General Public License", text))


def licence_of(package: Distribution) -> str:
    """The SPDX expression, or what the metadata offers in its place; "" where there is nothing."""
    data = package.metadata
    expression = (data.get_all("License-Expression") or [""])[0]
    if expression:
        return str(expression)
    classifiers = [
        line.split(" :: ")[-1]
        for line in data.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    text = (data.get_all("License") or [""])[0].strip().splitlines()
    if classifiers:
        return " AND ".join(classifiers)
    return text[0] if text and text[0].upper() != "UNKNOWN" else KNOWN.get(package.name, "")


def bundled(package: Distribution) -> tuple[tuple[str, str], ...]:
    """Codec and runtime libraries inside the wheel, once each."""
    found: dict[str, str] = {}
    for file in package.files or []:
        library = re.split(r"[-.]", file.name)[0]
        library = next((name for name in BUNDLED if library.startswith(name)), "")
        if not library or ".so" not in file.name:
            continue
        licence = BUNDLED[library]
        path = Path(str(file.locate()))
        # FFmpeg is LGPL until it is built with parts under the GPL, which it then says itself.
        if library.startswith(("libav", "libsw")) and path.is_file():
            built = path.read_bytes()
            licence = "GPL-2.0-or-later" if b"--enable-gpl" in built else licence
        found[library] = licence
    return tuple(sorted(found.items()))


def requirements(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset]]:
    """Names and extras of what a package needs here, with these extras of it."""
    for line in package.requires or []:
        wanted = Requirement(line)
        marks = [{"extra": extra} for extra in extras or {""}]
        if wanted.marker is None or any(wanted.marker.evaluate(mark) for mark in marks):
            yield wanted.name, frozenset(wanted.extras)


def collect(
    find: Callable[[str], Distribution] = distribution, root: str = "yolov4sdk"
) -> tuple[list[Entry], list[str]]:
    """Every package that is needed, and the names of those that are not installed."""
    package = find(root)
    users: dict[str, set[str]] = {}
    missing: set[str] = set()
    names = ["", *(package.metadata.get_all("Provides-Extra") or [])]
    for extra in (name for name in names if name not in SKIPPED):
        todo: list[tuple[str, frozenset[str]]] = [(root, frozenset({extra} - {""}))]
        seen = set()
        while todo:
            item = todo.pop()
            if item in seen:
                continue
            seen.add(item)
            try:
                found = find(item[0])
            except PackageNotFoundError:
                missing.add(item[0])
                continue
            if found.name != root:
                users.setdefault(re.sub(r"[-_.]+", "-", found.name).lower(), set()).add(extra)
            todo += requirements(found, item[1])
    entries = []
    for name, extras in sorted(users.items()):
        found = find(name)
        kept = frozenset({""}) if "" in extras else frozenset(extras)
        entries.append(Entry(name, found.version, licence_of(found), kept, bundled(found)))
    return entries, sorted(missing)


def report(entries: list[Entry], missing: list[str]) -> str:
    """As Markdown."""
    lines = [
        "# Licences", "",
        "Written by `python -m benchmarks.licences --write`. Without `--write` it checks: a GPL or",
        "AGPL in the core is an error, and so is a licence that is unknown.",
        "yolov4sdk itself is under Apache-2.0.", "",
        "| package | version | licence | needed by | bundles |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for entry in entries:
        used = (
            "the core" if "" in entry.extras else ", ".join(f"`{e}`" for e in sorted(entry.extras))
        )
        codecs = ", ".join(f"{name} ({licence})" for name, licence in entry.bundled)
        lines.append(
            f"| {entry.name} | {entry.version} | {entry.licence or '?'} | {used} | {codecs} |"
        )
    lines.append("")
    if missing:
        lines += [f"Not installed where this was written: {', '.join(missing)}.", ""]
    gpl = [f"{what} ({', '.join(sorted(e.extras))})" for e in entries for what in e.copyleft]
    told = "; ".join(gpl) + "." if gpl else "nothing."
    lines += [f"Under the GPL or AGPL, only in extras: {told}", ""]
    return "\n".join(lines)


def problems(entries: list[Entry]) -> list[str]:
    """What must not be: the GPL in the core, and unknown licences."""
    return [
        f"{what} is under the GPL, and the core needs it"
        for entry in entries
        if "" in entry.extras
        for what in entry.copyleft
    ] + [f"the licence of {entry.name} is unknown" for entry in entries if not entry.licence]


def main() -> None:
    """Print or keep the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep it in docs/licences.md")
    args = parser.parse_args()
    entries, missing = collect()
    text = report(entries, missing)
    if args.write:
        with atomic_write(REPORT) as file:
            file.write_text(text, encoding="utf-8")
    else:
        print(text)
    found = problems(entries)
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
