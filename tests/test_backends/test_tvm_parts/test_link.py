"""The linker's cache: where it is damaged, closed or full, the library is linked without it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.library import build, link, store
from pfir.errors import CompileError, UsageError
from pfir.system import scratch
from pfir.target import parse_target
from tests.test_backends.bundle import sized, under_construction


@pytest.fixture
def zig(monkeypatch, tmp_path):
    """The caches that the compiler was called with, what it answers with each, and the place of the kept one."""
    calls, answers = [], {"kept": None, "fresh": None}
    kept, fresh = tmp_path / "cache" / "pfir" / "zig", tmp_path / "scratch" / "zig"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(link, "lasting_folder", lambda name: fresh)

    def fault(command, cache):
        calls.append("kept" if cache == kept else "fresh")
        return answers[calls[-1]]

    monkeypatch.setattr(link, "_fault", fault)
    return calls, answers, kept


def linked():
    link.linker("aarch64-linux-gnu")("out.so", ["in.o"])


def test_the_kept_cache_serves(zig):
    calls, _, kept = zig
    linked()
    assert calls == ["kept"] and kept.is_dir()


def test_a_damaged_cache_is_replaced_by_a_fresh_one_and_removed(zig):
    calls, answers, kept = zig
    kept.mkdir(parents=True)
    (kept / "garbage").touch()
    answers["kept"] = "unknown file type"
    linked()
    assert calls == ["kept", "fresh"] and not kept.exists()


@pytest.mark.parametrize(
    "closed",
    [
        lambda kept: (kept.parent.parent.mkdir(), kept.parent.write_text("a file")),
        lambda kept: (kept.parent.mkdir(parents=True), kept.write_text("a file")),
    ],
)
def test_a_cache_that_cannot_be_written_is_passed_over(zig, closed):
    calls, _, kept = zig
    closed(kept)
    linked()
    assert calls == ["fresh"]


def test_a_cache_without_the_right_to_write_is_passed_over(zig, monkeypatch):
    monkeypatch.setattr(link.os, "access", lambda *_: False)
    linked()
    assert zig[0] == ["fresh"]


def test_what_fails_in_a_fresh_cache_too_is_no_fault_of_the_cache(zig):
    calls, answers, kept = zig
    answers |= {"kept": "undefined symbol: f", "fresh": "undefined symbol: f"}
    with pytest.raises(CompileError, match="linking for aarch64-linux-gnu.2.28 failed: undefined symbol: f"):
        linked()
    assert kept.exists()


@pytest.mark.parametrize("words", ["error: NoSpaceLeft", "IO failure on output stream: No space left on device"])
def test_a_full_disk_says_what_to_do(zig, words):
    zig[1].update(kept=words, fresh=words)
    with pytest.raises(UsageError, match="no space left in .*; free some, or set TMPDIR"):
        linked()


def test_the_compiler_that_comes_with_us_is_called(tmp_path):
    Path(tmp_path / "f.c").write_text("int f(int x) { return")
    command = link.run_module("ziglang", "cc", "-c", str(tmp_path / "f.c"), "-o", str(tmp_path / "f.o"))
    fault = link._fault(command, link.default_cache() / "zig")
    assert "error" in fault


def test_too_little_space_is_told_before_llvm_ends_the_process(monkeypatch, tmp_path):
    b = under_construction()
    b.output("y", b.op("Conv", b.input(1, 64, 8, 8), b.w(512, 64, 1, 1)))
    model, constant_bytes = sized(b), 512 * 64 * 4
    monkeypatch.setattr(store, "_folder", lambda: tmp_path)

    def building(free_bytes):
        monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))
        return TvmBackend("none").build(model, parse_target("arm"))

    with pytest.raises(UsageError, match="no space left in .*; free some, or set TMPDIR"):
        building(build._CODE_BYTES + 2 * constant_bytes - 1)
    assert building(build._CODE_BYTES + 4 * constant_bytes).files["model.so"]
