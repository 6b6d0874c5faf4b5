"""Fuzzing: pfir's commands on damaged and hostile files; a run always ends with one line and its exit code."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is imported: cases are forked, threads are not
    os.environ.setdefault(_name, "1")
