"""Who may import whom, as docs/architecture.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pfir

ROOT = Path(pfir.__file__).parent
LEAVES = {
    "errors", "space", "target", "cores", "host_cpu", "measurement", "artifact", "names", "checksum", "children",
    "scratch", "installation",
}  # fmt: skip
ALLOWED = {
    "ir": LEAVES,
    "data": LEAVES,
    "run": LEAVES | {"ir", "data"},
    "frontends": LEAVES | {"ir", "data", "run"},
    "passes": LEAVES | {"ir", "data", "run"},
    "train": LEAVES | {"ir", "data", "run"},
    "devices": LEAVES | {"ir"},
    "backends": LEAVES | {"ir", "devices"},
    "search": LEAVES,
    "report": LEAVES,
    "recipe": LEAVES,
    "compile": None,
    "cli": None,
    **dict.fromkeys(LEAVES, LEAVES),
}
HEAVY = {
    "tvm": {"backends/tvm", "devices/host", "devices/rpc", "devices/emulated", "devices/worker_main"},
    "onnxruntime": {"run", "train", "backends/ort"},
    "nevergrad": {"search"},
    "torch": {"frontends", "train/distributed"},
    "tensorflow": {"frontends"},
}
FILES = sorted(ROOT.rglob("*.py"))


def test_every_file_opens_with_one_sentence():
    for path in FILES:
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text, f"{path.relative_to(ROOT)} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_the_rooms_it_may(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    allowed = ALLOWED[room]
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "pfir" or len(parts) == 1:
            continue
        assert parts[1] != "cli", f"nothing imports cli, but {path} does"
        assert parts[1] != "compile" or room in ("compile", "cli"), f"only cli imports compile, but {path} does"
        assert allowed is None or parts[1] in allowed | {room}, f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_rooms(path):
    place = path.relative_to(ROOT).as_posix()
    for name in _imports(path):
        rooms = HEAVY.get(name.split(".")[0])
        assert rooms is None or any(place.startswith(r) for r in rooms), f"{place} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path):
    tree = ast.parse(path.read_text())
    for node in tree.body:
        for name in _names(node):
            assert name.split(".")[0] not in HEAVY, f"{path.relative_to(ROOT)} imports {name} at its top"


def _imports(path: Path) -> list[str]:
    return [name for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)]


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []
