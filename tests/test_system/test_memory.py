"""Memory that is freed: used again at once where that is wanted."""

import ctypes
import subprocess
import sys

import pytest

from pfir.system import memory

FAULTS = """
import resource
import numpy as np
from pfir.system.memory import keep_freed
keep_freed()
for i in range(20):
    if i == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(12 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc can be told")
def test_what_is_freed_is_used_again_without_faults():
    text = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    assert int(text) < 1000  # of 24,576 pages ten times over


def test_where_the_system_cannot_be_told_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed()
