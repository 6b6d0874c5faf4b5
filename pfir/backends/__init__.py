"""Compilers: a model becomes a library for a target."""

from __future__ import annotations

from collections.abc import Callable

from pfir.backends.base import Backend
from pfir.errors import UsageError

BACKENDS = ("tvm", "ort")
DEFAULT = "tvm"


def known_backend(name: str) -> type[Backend]:
    """The backend of `--backend`, not opened yet, with what it can do; no other one is imported.

    Raises:
        UsageError: There is none of this name.
    """
    if name == "tvm":
        from pfir.backends.tvm import TvmBackend

        return TvmBackend
    if name == "ort":
        from pfir.backends.ort import OrtBackend

        return OrtBackend
    raise UsageError(f"--backend {name} is not known; it is one of {', '.join(BACKENDS)}")


def check_backend(name: str, tuned: str | None) -> None:
    """Return only if `--backend` and `--tuned` go together.

    Raises:
        UsageError: There is no such backend, or it has no measured kernels to build by.
    """
    if not known_backend(name).tunes and tuned is not None:
        raise UsageError(f"--tuned names kernels of the {DEFAULT} backend; --backend {name} has none")


def open_backend(
    name: str, tuned: str | None = None, note: Callable[[str], None] | None = None, smallest: bool = False
) -> Backend:
    """The backend of `--backend`, which builds by the measured kernels of `--tuned`.

    Args:
        note: Told what a user should know of its builds.
        smallest: Its libraries are to be as small as can be, however long they take to load.

    Raises:
        UsageError: As in `check_backend`, or that is no file of measured kernels.
    """
    check_backend(name, tuned)
    found = known_backend(name)
    return found(tuned, note, smallest) if found.tunes else found()
