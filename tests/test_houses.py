"""The rules of docs/architecture.md: which way imports point, and what importing loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY

HOUSES = ("yolov4sdk", "export", "train", "serve")
FILES = [path for house in HOUSES for path in sorted((REPOSITORY / house).rglob("*.py"))]
TORCH_ZONES = ("yolov4sdk/models/", "yolov4sdk/backends/torch_backend.py", "export/", "train/")
HEAVY = (
    "torch", "onnxruntime", "tensorrt", "openvino", "onnx", "PIL", "yaml", "matplotlib", "httpx",
    "av",
)  # fmt: skip
RUNTIMES = {
    "onnxruntime_backend.py", "openvino_backend.py", "http_backend.py", "triton_backend.py",
    "cuda_python_memory.py", "pycuda_memory.py",
}  # fmt: skip


def imported(path: Path) -> set[tuple[str, bool]]:
    """Absolute module names that a file imports, and whether at its top level."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(REPOSITORY).parts[:-1]
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(function, ast.If) and ast.unparse(function.test) == "TYPE_CHECKING")
        for node in ast.walk(function)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [".".join((*base, *((node.module or "").split("."))))]
        else:
            continue
        found |= {(name, id(node) not in nested) for name in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_imports_point_the_right_way(path: Path) -> None:
    house = path.relative_to(REPOSITORY).parts[0]
    in_cli = path.is_relative_to(REPOSITORY / "yolov4sdk" / "cli")
    for module, top_level in imported(path):
        target = module.split(".")[0]
        if target not in HOUSES or target == house or target == "yolov4sdk":
            continue
        assert house == "yolov4sdk" and in_cli, f"{path} imports {module}"
        assert not top_level, f"{path} imports {module} at its top; commands import lazily"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_torch_stays_in_its_zone(path: Path) -> None:
    relative = str(path.relative_to(REPOSITORY))
    if relative.startswith(TORCH_ZONES):
        return
    top = {module.split(".")[0] for module, top_level in imported(path) if top_level}
    assert "torch" not in top, f"{relative} imports torch when it is imported"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_no_file_shadows_a_library(path: Path) -> None:
    assert path.stem not in {"onnx", "torch", "openvino", "tensorrt", "onnxruntime", "ray"}


def test_nothing_evaluates_or_unpickles() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path
            if isinstance(node, ast.keyword) and node.arg == "weights_only":
                assert isinstance(node.value, ast.Constant) and node.value.value is True, path
            # the restricted reader is the only one that may subclass the unpickler
            if isinstance(node, ast.Attribute) and node.attr in {"load", "loads", "Unpickler"}:
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner != "pickle" or path.name == "pickles.py", path


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_import_works_without_any_runtime() -> None:
    """Every module outside the torch zone imports where nothing but the core is installed."""
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in FILES
        if path.is_relative_to(REPOSITORY / "yolov4sdk")
        and not str(path.relative_to(REPOSITORY)).startswith(TORCH_ZONES)
        and path.name not in RUNTIMES | {"__main__.py"}
    ]
    blocked = ", ".join(f"{name!r}: None" for name in HEAVY)
    names = [module.removesuffix(".__init__") for module in modules]
    python(
        f"import sys; sys.modules.update({{{blocked}}})\n"
        f"import importlib\nfor m in {names}: importlib.import_module(m)"
    )


def test_import_loads_no_runtime() -> None:
    loaded = python("import sys, yolov4sdk; print(' '.join(sys.modules))").split()
    assert not set(HEAVY) & {name.split(".")[0] for name in loaded}


def test_missing_runtime_names_the_command() -> None:
    out = python(
        "import sys; sys.modules['torch'] = None\n"
        "import yolov4sdk\n"
        "try:\n    import yolov4sdk.models\n"
        "except yolov4sdk.errors.MissingExtraError as error: print(error)"
    )
    assert 'pip install "yolov4sdk[torch]"' in out


def test_public_names() -> None:
    import yolov4sdk

    assert set(yolov4sdk.__all__) == {
        "Detections",
        "Detector",
        "ModelSpec",
        "YOLOv4Error",
        "__version__",
        "errors",
        "read_image",
    }


def test_error_tree_is_the_one_drawn() -> None:
    """The drawing in errors.py names every class, under its real parent."""
    from yolov4sdk import errors

    drawn: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if not name.endswith("Error"):
            continue
        depth = line.index(name)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[name] = stack[-1][1] if stack else "Exception"
        stack.append((depth, name))
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn == real
