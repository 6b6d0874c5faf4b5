"""A transposed convolution multiplies with no zeros that its strides would spread."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.lowering.transposed import Phases, turned
from pfir.target import parse_target
from tests.test_backends.bundle import sized, under_construction


@pytest.mark.parametrize(("kernel", "taps"), [(2, 1), (3, 2), (4, 2)])
def test_strides_of_two_leave_half_the_taps_along_each_axis(kernel, taps):
    phases = Phases((2, 2), (0, 0), (kernel, kernel), (8, 8))
    assert phases.taps == (taps, taps)
    weight = np.random.default_rng(0).standard_normal((3, 5, kernel, kernel)).astype(np.float32)
    made = phases.weights(weight)
    assert made.shape == (20, 3, taps, taps)
    np.testing.assert_allclose(made.sum(), weight.sum(), rtol=1e-4)


def test_without_strides_the_only_phase_is_the_kernel_turned_around():
    weight = np.random.default_rng(0).standard_normal((3, 5, 2, 4)).astype(np.float32)
    np.testing.assert_array_equal(Phases((1, 1), (0, 0), (2, 4), (8, 8)).weights(weight), turned(weight, 1))


def test_a_kernel_as_large_as_its_strides_is_a_matrix_product():
    bundle = under_construction()
    x, weight = bundle.input(1, 8, 6, 6), bundle.w(8, 16, 2, 2)
    bundle.output("y", bundle.op("ConvTranspose", x, weight, strides=[2, 2]))
    families = {spec.family for spec, _ in written(sized(bundle), parse_target("host")).kernels}
    assert "product" in families and "conv" not in families
