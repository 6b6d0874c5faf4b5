"""Who may import whom, as docs/architecture.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pfir

ROOT = Path(pfir.__file__).parent
LEAVES = {
    "errors",
    "space",
    "target",
    "cores",
    "measurement",
    "artifact",
    "names",
    "system",
    "instructions",
    "workload",
}
ALLOWED = {
    "ir": LEAVES,
    "data": LEAVES,
    "run": LEAVES | {"ir", "data"},
    "packing": LEAVES | {"ir"},
    "frontends": LEAVES | {"ir", "data", "run", "packing"},
    "passes": LEAVES | {"ir", "data", "run"},
    "train": LEAVES | {"ir", "data", "run"},
    "devices": LEAVES | {"ir"},
    "backends": LEAVES | {"ir", "devices"},
    "search": LEAVES,
    "report": LEAVES,
    "recipe": LEAVES,
    "compile": {"artifact", "backends", "data", "devices", "frontends", "ir", "packing", "passes", "recipe"}
    | {"report", "run"}
    | {"search", "train"}
    | LEAVES,
    "commands": None,
    "cli": None,
    **dict.fromkeys(LEAVES, LEAVES),
}
HEAVY = {
    "tvm": {"backends/tvm", "devices/host", "devices/rpc", "devices/emulation", "devices/worker_main"},
    "onnxruntime": {"run", "train", "backends/ort"},
    "nevergrad": {"search"},
    "torch": {"frontends", "train/distributed", "train/engines"},
    "tensorflow": {"frontends"},
}
LAZY = {"train/engines/pytorch": "torch"}
"""Rooms that are imported inside functions only, so that their files may import a heavy library at the top."""
MOST_PARAMETERS = 7
MORE_PARAMETERS = {
    "report/svg.py scatter",
}
"""Functions that take more; none may join them. Those of commands/line are commands, whose parameters are options."""
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
        assert parts[1] != "commands" or room in ("commands", "cli"), f"only cli imports commands, but {path} does"
        allowed_compile = room in ("compile", "commands", "cli")
        assert parts[1] != "compile" or allowed_compile, f"only commands and cli import compile, but {path} does"
        assert allowed is None or parts[1] in allowed | {room}, f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_outside_asks_for_a_backend_s_own_files(path):
    """What a backend can do stands on its contract; `pfir.backends` opens it by name."""
    if path.relative_to(ROOT).parts[0] != "backends":
        for name in _imports(path):
            assert not name.startswith("pfir.backends.") or name == "pfir.backends.base", f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_rooms(path):
    place = path.relative_to(ROOT).as_posix()
    for name in _imports(path):
        rooms = HEAVY.get(name.split(".")[0])
        assert rooms is None or any(place.startswith(r) for r in rooms), f"{place} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path):
    place = path.relative_to(ROOT).as_posix()
    own = {library for room, library in LAZY.items() if place.startswith(room)}
    closed = {f"pfir.{room.replace('/', '.')}" for room in LAZY if not place.startswith(room)}
    for node in ast.parse(path.read_text()).body:
        for name in _names(node):
            assert name.split(".")[0] not in HEAVY.keys() - own, f"{place} imports {name} at its top"
            assert not any(name.startswith(room) for room in closed), f"{place} imports {name} at its top"


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count, too: a circle that hides there is one."""
    graph = {_module(path): _imported_modules(path) for path in FILES}
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circles among {', '.join(sorted(left))}"


@pytest.mark.parametrize("room", sorted({p.parent for p in FILES}), ids=lambda p: str(p.relative_to(ROOT.parent)))
def test_no_room_is_crowded(room):
    files = [p.name for p in room.glob("*.py") if p.name != "__init__.py"]
    assert len(files) <= 15, f"{room.name} has {len(files)} files"


def test_functions_are_short():
    lengths = sorted(_lengths())
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 95 // 100] <= 25


def test_no_further_function_takes_many_parameters():
    found = {
        f"{path.relative_to(ROOT).as_posix()} {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and _parameters(node) > MOST_PARAMETERS and "line" not in path.parts
    }
    assert found <= MORE_PARAMETERS, f"more than {MOST_PARAMETERS} parameters: {sorted(found - MORE_PARAMETERS)}"


def _parameters(function: ast.FunctionDef) -> int:
    """How many a caller gives: `self` and `cls` are not counted."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args)]
    return len(names) + len(given.kwonlyargs) - (names[:1] in (["self"], ["cls"]))


def _lengths() -> Iterator[int]:
    """Lines of every function, its signature and docstring not counted."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                yield body[-1].end_lineno - body[0].lineno + 1


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported_modules(path: Path) -> set[str]:
    """The modules of pfir that a file imports anywhere; of a package, what its __init__ imports is not followed."""
    modules = {_module(p) for p in FILES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= inner or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & modules) - {_module(path)}


def _imports(path: Path) -> list[str]:
    return [name for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)]


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []
