"""Caches of native code: only the user's own are trusted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from yolov4sdk.errors import SettingError
from yolov4sdk.system.files import require_own
from yolov4sdk.tensorrt.flavour import FLAVOURS
from yolov4sdk.tensorrt.store import CACHE_VARIABLE, cached_engine, own_cache_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX systems")


def test_the_cache_is_made_for_the_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "a" / "cache"))
    before = os.umask(0o002)
    try:
        folder = own_cache_folder()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_cache_folder() == folder


@pytest.mark.parametrize("mode", [0o777, 0o722, 0o770, 0o1777])
def test_engines_of_a_cache_that_others_can_write_are_refused(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything in it is read, and before a library is asked for."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(
        SettingError, match=r"can be written by others.*chmod go-w.*YOLOV4SDK_CACHE"
    ):
        cached_engine(tmp_path / "x.onnx", FLAVOURS["trt-rtx"])


def test_what_belongs_to_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "x.engine"
    engine.write_bytes(b"forged")
    engine.chmod(0o600)
    require_own(engine, CACHE_VARIABLE)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(SettingError, match="belongs to another user"):
        require_own(engine, CACHE_VARIABLE)


def test_a_folder_in_one_that_everyone_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open" / "cache").mkdir(parents=True)
    (tmp_path / "open" / "cache").chmod(0o700)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(SettingError, match="can be exchanged"):
        require_own(tmp_path / "open" / "cache", CACHE_VARIABLE)
    (tmp_path / "open").chmod(0o1777)  # as /tmp: nobody can rename what is another's
    require_own(tmp_path / "open" / "cache", CACHE_VARIABLE)
