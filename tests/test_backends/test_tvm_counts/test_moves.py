"""What moves values takes about what the emulator counted."""

from __future__ import annotations

from pfir.backends.tvm.counts.others.elementwise import elementwise
from pfir.backends.tvm.counts.others.moves import move, transpose
from pfir.instructions import Instructions
from pfir.target import HALF
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import Row, counted, errors, kept, share_within, tail, target

ROWS = [row for row in kept("moves") if row["node"] != "MaxPool"]
FEWEST = 4  # channels of a block that is turned


def _count(row: Row) -> Instructions:
    on, shapes = target(row), [tuple(shape) for shape in row["shapes"]]
    sizes = {"order": tuple(row["orders"][0]), "dtype": on.arithmetic.data}
    if row["node"] == "Reshape":
        turned = Workload("transpose", shapes[0], shapes[0], into=(0, 1, 2, 3), **sizes)
        gathers = on.arithmetic.data == HALF or shapes[0][1] < FEWEST
        return elementwise(on, turned, Tail()) if gathers else transpose(on, turned, Tail())
    parts = tuple(shape[1] for shape in shapes[:-1]) if row["node"] == "Concat" else ()
    return move(on, Workload("move", shapes[0], shapes[-1], kind=row["node"], parts=parts, **sizes), tail(row))


def test_joins_of_float32_take_what_the_emulator_counted():
    joins = [row for row in ROWS if row["node"] == "Concat" and row["target"] == "arm"]
    assert max(errors(joins, _count, small=5000).values()) < 0.06


def test_most_moves_take_about_what_the_emulator_counted():
    found = errors([row for row in ROWS if row["node"] != "Resize"], _count, small=5000)
    assert share_within(found, 0.03) > 0.75 and share_within(found, 0.1) > 0.9


def test_samples_to_the_nearest_take_about_what_the_emulator_counted_in_float32():
    found = errors([row for row in ROWS if row["node"] == "Resize" and row["target"] == "arm"], _count, small=5000)
    assert max(found.values()) < 0.06


def test_bytes_are_those_that_are_moved():
    for row in ROWS:
        if row["node"] == "Reshape":
            assert _count(row).store_bytes <= 1.3 * counted(row).store_bytes
