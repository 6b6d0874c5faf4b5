"""The schedules of the grids are read back as they were written."""

from __future__ import annotations

import pytest

from tests.test_backends.test_tvm_counts.kept import rows

KINDS = "conv", "conv_integers", "depthwise", "direct", "product", "sparse_integers", "winograd"


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_has_the_text_that_it_was_read_from(kind):
    found = [row for row in rows(kind) if row.schedule is not None]
    assert found and all(f" | {row.schedule} | " in row.key for row in found)
