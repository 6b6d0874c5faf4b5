"""What is linked expands to the bytes of the constant, in every form and whatever its size."""

from __future__ import annotations

import ctypes
from itertools import product

import numpy as np
import pytest

from pfir.backends.tvm.kernels.integers.winograd.packing import whole_points
from pfir.backends.tvm.kernels.winograd.packing import blocked, pointed
from pfir.backends.tvm.library.compact.choice import SMALLEST, Price, cheapest, forms_of
from pfir.backends.tvm.library.compact.forms import Coded, Dense, Kernels, LinkedForm, Sparse
from pfir.backends.tvm.library.compact.source import SYMBOL, source_of
from pfir.backends.tvm.library.link import linker
from pfir.backends.tvm.lowering.values import Transformed
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile
from pfir.target import parse_target

PRICE = Price(parse_target("host"), SMALLEST)
SIZES = (1, 7, 8, 9, 64, 1000)
TYPES = (np.int8, np.int16, np.float16, np.float32, np.int32)


def _arrays(rng: np.random.Generator):
    """Constants of few and of many values, sparse and dense, with negative zeros."""
    for dtype, size, different in product(TYPES, SIZES, (1, 2, 3, 16, 100, 256)):
        values = rng.integers(-(2**31), 2**31, different).astype(np.int32).view(np.uint32)
        values = np.frombuffer(values.tobytes()[: values.itemsize * different // 4 * 4], np.uint8)
        book = np.resize(values, different * np.dtype(dtype).itemsize).view(dtype)
        array = rng.choice(book, size)
        yield array
        yield np.where(rng.random(size) < 0.7, np.zeros((), dtype), array)
    yield np.full(100, -0.0, np.float32)
    yield np.zeros((3, 5), np.float32)


def _transformed(rng: np.random.Generator):
    """Points of kernels: of any numbers, of few, of zeros mostly, of far ends of the range."""
    outputs_of = (16, 16, 11, 11)
    for outputs, kind in product((2, 4), range(4)):
        weight = rng.standard_normal((outputs_of[kind], 5, 3, 3)).astype(np.float32)
        weight = [weight, np.round(weight), weight * (rng.random(weight.shape) < 0.2), weight * 1e30][kind]
        weight = np.where(rng.random(weight.shape) < 0.1 * (kind != 1), weight * np.float32(1e-30), weight)
        for tile in (MatrixTile(4, 1, 4, 8), *([NarrowingTile(8, 2, 6, 1)] if len(weight) % 16 else [])):
            kernels = blocked(weight, tile)
            yield Transformed(pointed(kernels, outputs), kernels, outputs)
            with np.errstate(over="ignore"):
                yield Transformed(pointed(kernels, outputs).astype(np.float16), kernels, outputs)
        integers = rng.integers(-127, 128, (9, 6, 3, 3)).astype(np.int8)
        kernels = blocked(
            np.where(rng.random(integers.shape) < 0.6, 0, integers).astype(np.int8), MatrixTile(4, 1, 4, 8)
        )
        yield Transformed(whole_points(kernels, outputs), kernels, outputs)


@pytest.fixture(scope="module")
def cases() -> list[tuple[np.ndarray, LinkedForm]]:
    """Every form of every constant."""
    rng = np.random.default_rng(0)
    found = [(array, form) for array in _arrays(rng) for form in forms_of(array, PRICE)]
    found += [(t.points, form) for t in _transformed(rng) for form in forms_of(t.points, PRICE, t)]
    return found


def _expanded(forms, folder) -> bytes:
    """What a library of these constants holds when it is loaded here."""
    source, path = source_of(forms), folder / "constants.so"
    linker("x86_64-linux-gnu")(str(path), [str(source.written(folder))])
    return bytes((ctypes.c_ubyte * source.size).in_dll(ctypes.CDLL(str(path)), SYMBOL))


def test_a_loaded_library_has_the_bytes_of_every_constant(cases, tmp_path):
    kinds = {(type(form), type(getattr(form, "values", None) or getattr(form, "kernels", None))) for _, form in cases}
    assert kinds >= {(Sparse, Coded), (Sparse, Dense), (Kernels, Coded), (Kernels, Sparse), (Kernels, Dense)}
    loaded, at = _expanded([form for _, form in cases], tmp_path), 0
    for array, form in cases:
        assert loaded[at : at + array.nbytes] == array.tobytes(), form
        at += array.nbytes
    assert at == len(loaded)


def test_the_scratch_memory_and_the_data_are_as_large_as_said(cases):
    for array, form in cases:
        assert form.expanded_bytes == array.nbytes
        assert form.size_bytes <= len(source_of([form]).data) < form.size_bytes + 4 * 8


def test_the_smallest_form_is_taken_where_bytes_are_all_that_counts():
    rng = np.random.default_rng(1)
    few = rng.choice(rng.standard_normal(16).astype(np.float32), 10_000)
    holes = np.where(rng.random(10_000) < 0.8, 0, rng.standard_normal(10_000)).astype(np.float32)
    both = np.where(rng.random(10_000) < 0.8, 0, few).astype(np.float32)
    four = rng.integers(-8, 8, 10_000).astype(np.int8)
    eight = rng.integers(-127, 128, 10_000).astype(np.int8)
    sizes = [cheapest(array, PRICE).size_bytes for array in (few, holes, both, four, eight)]
    assert sizes[0] == 5_000 + 64 and abs(sizes[1] - 1_250 - 8_000) < 400 and abs(sizes[2] - 1_250 - 1_064) < 100
    assert sizes[3] == 5_000 + 16 and sizes[4] == 10_000
