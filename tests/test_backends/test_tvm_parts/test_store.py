"""The cache of built libraries: an entry is what was built, or it is built anew and said to be."""

from __future__ import annotations

import pytest

from pfir.artifact import LinkedConstants
from pfir.backends.tvm import TvmBackend, backend
from pfir.backends.tvm.library import store
from pfir.errors import CompileError
from pfir.target import parse_target
from tests.support.net import parsed

LIBRARY = bytes(range(256))
CONSTANTS = LinkedConstants(200, 100, 5000, 1e-5)
BUILT = store.Built(LIBRARY, CONSTANTS, ("a", "b"))
NAME = "key"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_folder", lambda: tmp_path / "libraries")
    return tmp_path / "libraries"


@pytest.mark.parametrize("built", [BUILT, store.Built(LIBRARY, CONSTANTS)])
def test_an_entry_is_given_back_whole_and_nothing_is_said(built):
    store.keep(NAME, built)
    said = []
    assert store.find(NAME, said.append) == built and not said


def test_what_was_never_kept_is_no_damage():
    said = []
    assert store.find(NAME, said.append) is None and not said


def _zeroed(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


@pytest.mark.parametrize("ending", [".so", ".seal"])
@pytest.mark.parametrize(
    "damage",
    [_zeroed, lambda content: content[:-1], lambda content: b"", lambda content: content[:-1] + b"c"],
    ids=["zeroed", "cut", "empty", "changed"],
)
def test_a_damaged_entry_is_never_used_and_told(folder, ending, damage):
    store.keep(NAME, BUILT)
    path = folder / f"{NAME}{ending}"
    path.write_bytes(damage(path.read_bytes()))
    said = []
    assert store.find(NAME, said.append) is None
    assert "damaged; it is built anew" in said[0] and str(folder / f"{NAME}.so") in said[0]


def test_a_library_without_its_seal_is_damaged(folder):
    store.keep(NAME, BUILT)
    (folder / f"{NAME}.seal").unlink()
    said = []
    assert store.find(NAME, said.append) is None and said


def test_a_failed_writing_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(store.os, "replace", full)
    store.keep(NAME, BUILT)
    assert list(folder.iterdir()) == []


def test_the_backend_builds_a_damaged_library_anew_once(folder, monkeypatch):
    model, target, built = parsed("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"), parse_target("arm"), []

    def build(*_):
        built.append(1)
        return LIBRARY, CONSTANTS

    monkeypatch.setattr(backend, "build_compact", build)
    said = []
    tvm = TvmBackend(note=said.append)
    assert tvm.build(model, target).files["model.so"] == LIBRARY
    (path,) = folder.glob("*.so")
    path.write_bytes(_zeroed(LIBRARY))
    for _ in range(2):
        assert tvm.build(model, target).files["model.so"] == LIBRARY
    assert len(built) == 2 and len(said) == 1


def test_a_library_that_cannot_be_built_is_not_kept(folder, monkeypatch):
    def refuse(*_):
        raise CompileError("no")

    monkeypatch.setattr(backend, "build_compact", refuse)
    with pytest.raises(CompileError):
        TvmBackend().build(parsed("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"), parse_target("arm"))
    assert not folder.exists()
