"""The cache of built libraries: an entry is what was built, or it is built anew and said to be."""

from __future__ import annotations

import pytest

from pfir.backends.tvm import TvmBackend, backend
from pfir.backends.tvm.library import store
from pfir.errors import CompileError
from pfir.target import parse_target
from tests.support.net import parsed

LIBRARY, SLOW = bytes(range(256)), ("a", "b")
NAME = "key"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_folder", lambda: tmp_path / "libraries")
    return tmp_path / "libraries"


@pytest.mark.parametrize("slow", [SLOW, ()])
def test_an_entry_is_given_back_whole_and_nothing_is_said(slow):
    store.keep(NAME, LIBRARY, slow)
    said = []
    assert store.find(NAME, said.append) == (LIBRARY, slow) and not said


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
    store.keep(NAME, LIBRARY, SLOW)
    path = folder / f"{NAME}{ending}"
    path.write_bytes(damage(path.read_bytes()))
    said = []
    assert store.find(NAME, said.append) is None
    assert "damaged; it is built anew" in said[0] and str(folder / f"{NAME}.so") in said[0]


def test_a_library_without_its_seal_is_damaged(folder):
    store.keep(NAME, LIBRARY, SLOW)
    (folder / f"{NAME}.seal").unlink()
    said = []
    assert store.find(NAME, said.append) is None and said


def test_a_failed_writing_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(store.os, "replace", full)
    store.keep(NAME, LIBRARY, SLOW)
    assert list(folder.iterdir()) == []


def test_the_backend_builds_a_damaged_library_anew_once(folder, monkeypatch):
    model, target, built = parsed("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"), parse_target("arm"), []

    def build(*_):
        built.append(1)
        return LIBRARY

    monkeypatch.setattr(backend, "build", build)
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

    monkeypatch.setattr(backend, "build", refuse)
    with pytest.raises(CompileError):
        TvmBackend().build(parsed("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"), parse_target("arm"))
    assert not folder.exists()
