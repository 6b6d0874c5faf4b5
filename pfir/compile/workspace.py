"""The output folder of one run: its running state, and results that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pfir.compile.lock import take
from pfir.errors import UsageError

STATE = ".pfir"
LOCK, PROBE = "lock", "probe"
_OF_EVERY_RUN = (LOCK, PROBE)
"""What the state holds before anything has been found that an interrupted run could go on with."""
JOURNAL = "search.jsonl"
FITTED = f"fitted.{JOURNAL}"
CHECKPOINT = ".checkpoint.npz"
MANIFEST = "manifest.json"
_NO_FACTS: Mapping[str, object] = {}


class Workspace:
    """The folder DIR of `-o DIR`, locked. While a run goes on, all it holds of it is in DIR/.pfir.

    Nothing that an earlier run left is touched before `begin`.

    Args:
        folder: DIR.
        force: Start anew in a folder that is not empty; results of an earlier run are replaced at the very end.
        resume: Go on with the state that an interrupted run left.

    Raises:
        UsageError: Another run is at work in it, the folder is not empty and neither is asked for, or it cannot be
            written.
    """

    def __init__(self, folder: Path, force: bool = False, resume: bool = False) -> None:
        self.folder = folder
        self.state = folder / STATE
        self._force, self._resume = force, resume
        with _clear_errors(folder):
            self._made = self._is_new()
            self._lock = self._locked(force or resume)
        self._test_writing()

    def begin(self) -> None:
        """Clear the way: the state of an earlier run goes with `force`, and comes back with `resume`."""
        with _clear_errors(self.folder):
            if self._force:
                self._forget_state()
            if self._resume:
                self._reopen_journals()

    def journal(self, attempt: int = 0, fitted: bool = False) -> Path:
        """The journal of a search; a further one, of fitted candidates or under a tighter limit, has its own."""
        again = f"{attempt + 1}." if attempt else ""
        return self.state / f"{again}{FITTED if fitted else JOURNAL}"

    def journals(self) -> dict[str, bytes]:
        """The content of all journals, by the names under which they are delivered."""
        return {path.name: path.read_bytes() for path in sorted(self.state.glob(f"*{JOURNAL}"))}

    def checkpoint(self, model: bytes) -> Path:
        """Where the state of training this model is kept: a run may train several, and goes on with each."""
        return self.state / f"{hashlib.sha256(model).hexdigest()[:16]}{CHECKPOINT}"

    def finalist_checkpoint(self, place: int) -> Path:
        """The state of the short training of the finalist at this place."""
        return self.state / f"finalist{place}{CHECKPOINT}"

    @property
    def training_job(self) -> Path:
        """What processes that train together read and write."""
        return self.state / "training"

    def deliver(self, files: Mapping[str, bytes], facts: Mapping[str, object] = _NO_FACTS) -> None:
        """Put all files into the folder: each is complete on disk before the first one appears, the manifest last.

        Args:
            files: Content by name.
            facts: What the manifest tells beside the files, plain values by name.

        Raises:
            UsageError: The folder cannot be written, or the disk is full; then none of the files has appeared.
        """
        stage = self.state / "stage"
        with _clear_errors(self.folder):
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            for name, content in {**files, MANIFEST: manifest(files, facts)}.items():
                _write(stage / name, content)
            for name in (*files, MANIFEST):
                os.replace(stage / name, self.folder / name)
            self._forget_others(set(files))
            # Whoever is told just now that the folder is in use may put its lock back while it goes.
            shutil.rmtree(self.state, ignore_errors=True)
        self._lock.close()

    def abandon(self) -> None:
        """Leave nothing of a failed run behind but finished trials and training."""
        if not (self._holds_trials() or any(self.state.glob(f"*{CHECKPOINT}*"))):
            shutil.rmtree(self.state, ignore_errors=True)
            if self._made and self.folder.exists() and not any(self.folder.iterdir()):
                self.folder.rmdir()
        self._lock.close()

    def _holds_trials(self) -> bool:
        """Whether a journal has more than its header, and more than was delivered before."""
        found = {name: content for name, content in self.journals().items() if content.count(b"\n") > 1}
        return any(content != self._delivered(name) for name, content in found.items())

    def _delivered(self, name: str) -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.exists() else b""

    def _is_new(self) -> bool:
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"-o {self.folder} is a file; name a folder")
        return not self.folder.exists()

    def _locked(self, may_hold_files: bool) -> BinaryIO:
        """The lock, before anything else is done in the folder; one that may not be used stays as it is."""
        if not may_hold_files and not self.state.exists():
            self._refuse_files()
        lock = take(self.state / LOCK, self.folder)
        if not may_hold_files:
            self._refuse_state()
            self._refuse_files()
        return lock

    def _refuse_state(self) -> None:
        if any(path.name not in _OF_EVERY_RUN for path in self.state.iterdir()):
            raise UsageError(f"{self.folder} holds an interrupted run; go on with --resume or restart with --force")

    def _refuse_files(self) -> None:
        if self.folder.exists() and any(path.name != STATE for path in self.folder.iterdir()):
            raise UsageError(f"{self.folder} is not empty; choose another folder with -o, or replace with --force")

    def _test_writing(self) -> None:
        try:
            with _clear_errors(self.folder):
                (self.state / PROBE).write_bytes(b"pfir")
                (self.state / PROBE).unlink()
        except UsageError:
            self.abandon()
            raise

    def _forget_state(self) -> None:
        for path in self.state.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def _reopen_journals(self) -> None:
        for name in (JOURNAL, FITTED):
            if (self.folder / name).exists() and not (self.state / name).exists():
                shutil.copyfile(self.folder / name, self.state / name)

    def _forget_others(self, names: set[str]) -> None:
        """Drop what an earlier run of another target or goal left under names of ours."""
        for name in ("model.so", "weights.npz", JOURNAL, FITTED):
            if name not in names:
                (self.folder / name).unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Return only if a file may be written there, before anything takes time.

    Raises:
        UsageError: It is a folder, a device or the like, or its folder is missing or may not be written.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"-o {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"-o {path} is no regular file, and would be replaced by one; name a file")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "may not be written" if folder.is_dir() else "does not exist"
        raise UsageError(f"-o {path} cannot be written: the folder {folder} {why}")


def manifest(files: Mapping[str, bytes], facts: Mapping[str, object] = _NO_FACTS) -> bytes:
    """JSON of every file's size and SHA-256, by name, and of the facts."""
    entries = {
        name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    return json.dumps({"files": entries, **facts}, indent=1).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _clear_errors(folder: Path):
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UsageError(f"no space left for {folder}; free some or choose another folder with -o") from error
        raise UsageError(f"{folder} cannot be written ({error.strerror}); choose another folder with -o") from error
