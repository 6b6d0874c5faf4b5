"""Work of native libraries on files of others, done in a forked process first: what ends that one is not done here."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress

MOST_SECONDS = 8
"""Of processor time; onnx, which sees no weights, checks networks of thousands of layers in less than one."""


def ended_by(work: Callable[[], object]) -> str | None:
    """How a process ends that does this work, in words; None where it survives, whatever exception it meets.

    A fork takes milliseconds, a new interpreter that imports onnx half a second. The child does nothing but the work,
    so that no lock which another thread holds can keep it waiting.
    """
    child = os.fork()
    if child == 0:
        _work_and_exit(work)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return None
    name = signal.Signals(-code).name
    return f"takes more than {MOST_SECONDS} s" if name == "SIGXCPU" else f"ends the process with {name}"


def _work_and_exit(work: Callable[[], object]) -> None:
    try:
        faulthandler.disable()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        with suppress(Exception):
            work()
    finally:
        os._exit(0)
