"""A weight's bytes are counted whatever its bits, whether as a number or as a formula over its sizes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from ml_dtypes import int4

from pfir.ir.costs.storage import SizeTerm, Storage, storage_of

SHAPE = (6, 4, 3, 3)
VALUES = 6 * 36


def _bytes(term: SizeTerm) -> float:
    return term.scale * math.prod(SHAPE[axis] for _, axis in term.dims)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 4), (np.float16, 2), (np.int8, 1), (int4, 0.5)])
def test_a_plain_tensor_takes_what_its_type_takes(dtype, size):
    tensor = gs.Constant("w", np.zeros(SHAPE, dtype))
    storage = storage_of(tensor)
    assert storage.size_bytes(SHAPE) == size * VALUES
    (term,) = storage.terms(tensor)
    assert _bytes(term) == size * VALUES


@pytest.mark.parametrize(
    ("storage", "bits"),
    [
        (Storage(8, row_bits=32), 8 * VALUES + 32 * 6),
        (Storage(4, block_values=12, block_bits=16), 4 * VALUES + 16 * VALUES // 12),
        (Storage(Fraction(8, 2), block_values=4, block_bits=4), 4 * VALUES + VALUES),
        (Storage(3, tensor_bits=8 * 32), 3 * VALUES + 8 * 32),
        (Storage(1, 16, 9, 2, 8), VALUES + 16 * 6 + 2 * VALUES // 9 + 8),
    ],
)
def test_scales_indices_and_codebooks_are_counted_by_both(storage, bits):
    tensor = gs.Constant("w", np.zeros(SHAPE, np.float32))
    assert storage.size_bytes(SHAPE) == -(-bits // 8)
    assert sum(_bytes(term) for term in storage.terms(tensor)) == bits / 8


def test_the_last_block_of_each_row_may_be_short():
    assert Storage(8, block_values=4, block_bits=8).size_bytes((3, 5)) == 15 + 3 * 2


def test_an_empty_tensor_and_a_single_number_have_a_size():
    assert Storage(32, row_bits=8).size_bytes((0, 4)) == 0 and Storage(32).size_bytes(()) == 4
