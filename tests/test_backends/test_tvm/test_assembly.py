"""The hot loops of the ARM kernels keep their registers; the reader that says so sees spills where there are some."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.kernels.assembly import Loop, hot_bodies, hot_loops, innermost_loops, tile_loops
from benchmarks.kernels.instructions import assembly, two_convolutions
from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import sized, under_construction

NESTED = """
conv_0_compute_:
\tmov\tx0, #0
.LBB0_1:
\tadd\tx1, x1, #1
.LBB0_2:
\tldr\tq0, [sp, #16]
\tfmla\tv0.4s, v1.4s, v2.s[0]
\tldr\tx3, [sp, #8]
\tb.ne\t.LBB0_2
\tfmla\tv0.4s, v1.4s, v2.s[0]
\tcbnz\tx1, .LBB0_1
"""


def test_a_loop_is_counted_without_those_inside_and_without_reloads_of_what_no_loop_stores():
    assert tile_loops(NESTED) == [Loop("conv_0", 3, 1, 0), Loop("conv_0", 4, 1, 0)]
    stored = NESTED.replace("add\tx1, x1, #1", "str\tq0, [sp, #16]")
    assert tile_loops(stored) == [Loop("conv_0", 3, 1, 1), Loop("conv_0", 4, 1, 1)]


def test_a_kernel_in_the_function_that_tvm_calls_has_no_loops_but_its_own():
    checks = "__tvm_ffi_conv_0:\n\tcbz\tx0, .LBB0_9\n.LBB0_5:\n\tret\n"
    inside = NESTED.replace("\nconv_0_compute_:", checks) + ".LBB0_9:\n\tmov\tw0, #-1\n\tb\t.LBB0_5\n"
    assert tile_loops(inside) == tile_loops(NESTED) and hot_loops(inside) == hot_loops(NESTED)


def test_only_the_innermost_loop_counts_and_vectors_on_the_stack_are_spills():
    assert innermost_loops(NESTED) == [Loop("conv_0", 4, 1, 1)]


@pytest.mark.parametrize("core", ["arm", "cortex-a55", "cortex-a76"])
def test_no_hot_loop_of_ours_spills(core):
    bundle = under_construction()
    for channels, out, kernel in (
        (3, 16, 3),
        (3, 32, 3),
        (2, 8, 3),
        (16, 16, 3),
        (26, 52, 1),
        (35, 13, 3),
        (4, 24, 5),
        (1, 8, 3),
        (1, 16, 3),
    ):
        x = bundle.input(1, channels, 28, 28)
        y = bundle.op("Conv", x, bundle.w(out, channels, kernel, kernel), bundle.w(out))
        bundle.output(f"y{channels}_{out}_{kernel}", bundle.op("Relu", y))
    loops = hot_loops(assembly(written(sized(bundle), parse_target(core))))
    assert len(loops) == 9
    assert [loop for loop in loops.values() if loop.spills] == []


@pytest.mark.parametrize("core", ["arm", "cortex-a55"])
def test_no_hot_loop_of_a_depthwise_or_winograd_convolution_or_a_product_of_few_channels_spills(core):
    bundle = under_construction()
    for channels, size, kernel, stride in ((32, 24, 3, 1), (24, 28, 3, 2), (40, 14, 5, 1), (36, 28, 5, 2)):
        weight, pads = bundle.w(channels, 1, kernel, kernel), [kernel // 2] * 4
        y = bundle.op(
            "Conv",
            bundle.op("Relu", _channels_last(bundle, channels, size)),
            weight,
            bundle.w(channels),
            group=channels,
            pads=pads,
            strides=[stride] * 2,
        )
        bundle.output(f"y{size}_{kernel}_{stride}", _clip(bundle, y))
    for channels in (4, 5, 8):
        y = bundle.op("Conv", _channels_last(bundle, channels, 28), bundle.w(16, channels, 1, 1))
        bundle.output(f"p{channels}", _clip(bundle, bundle.op("Add", y, bundle.w(16, 1, 1))))
    for channels, size in ((16, 32), (32, 16)):
        y = bundle.op(
            "Conv",
            _channels_last(bundle, channels, size),
            bundle.w(channels, channels, 3, 3),
            bundle.w(channels),
            pads=[1] * 4,
        )
        bundle.output(f"w{channels}", bundle.op("Relu", y))
    text = assembly(written(sized(bundle), parse_target(core)))
    transforms = [loop for loop in tile_loops(text) if loop.kernel.startswith("winograd") and loop.multiplies]
    assert len(transforms) > 6 and not any(loop.spills for loop in transforms)
    loops = hot_loops(text)
    families = ("depthwise", "product", "winograd")
    ours = [loop for name, loop in loops.items() if name.startswith(families) and loop.multiplies > 16]
    assert len(ours) >= 9 and any(loop.kernel.startswith("winograd") for loop in ours)
    assert [loop for loop in ours if loop.spills] == []


@pytest.mark.parametrize("core", ["arm", "cortex-a53", "cortex-a76", "neoverse-n1"])
def test_no_hot_loop_of_a_strided_convolution_spills_at_pruned_widths(core):
    bundle = under_construction()
    for channels, kernel in ((7, 3), (13, 3), (20, 5), (26, 3), (52, 3), (61, 1)):
        weight, pads = bundle.w(channels, channels, kernel, kernel), [kernel // 2] * 4
        y = bundle.op(
            "Conv", _channels_last(bundle, channels, 28), weight, bundle.w(channels), pads=pads, strides=[2, 2]
        )
        bundle.output(f"y{channels}", bundle.op("Relu", y))
    loops = hot_loops(assembly(written(sized(bundle), parse_target(core))))
    direct = [loop for name, loop in loops.items() if name.startswith("direct")]
    assert len(direct) == 6 and [loop for loop in direct if loop.spills] == []
    assert all(loop.instructions / loop.multiplies < 1.6 for loop in direct)


def test_columns_apart_by_no_whole_vectors_cost_no_instructions_of_their_own_and_no_spills():
    bundle = under_construction()
    for channels, kernel, stride in ((9, 3, 1), (13, 3, 1), (26, 3, 1), (61, 3, 1), (26, 5, 1), (61, 3, 2)):
        weight, pads = bundle.w(channels, 1, kernel, kernel), [kernel // 2] * 4
        y = bundle.op(
            "Conv",
            _channels_last(bundle, channels, 20),
            weight,
            bundle.w(channels),
            group=channels,
            pads=pads,
            strides=[stride] * 2,
        )
        bundle.output(f"y{channels}_{kernel}_{stride}", bundle.op("Relu", y))
    text = assembly(written(sized(bundle), parse_target("arm")))
    bodies = {k: body for k, body in hot_bodies(text).items() if k.startswith(("across", "depthwise"))}
    assert len(bodies) == 6 and [loop for name, loop in hot_loops(text).items() if name in bodies and loop.spills] == []
    for body in bodies.values():
        first = [line.split()[0] for line in body]
        loads = sum(name.startswith("ld") for name in first)
        assert loads > 20 and sum(name in ("add", "sub", "ubfiz", "orr", "lsl") for name in first) < 0.6 * loads


def _channels_last(bundle: Net, channels: int, size: int) -> str:
    """A tensor that a convolution of ours has just written."""
    return bundle.op("Conv", bundle.input(1, 1, size, size), bundle.w(channels, 1, 1, 1))


def _clip(bundle: Net, tensor: str) -> str:
    return bundle.op("Clip", tensor, bundle.const(np.float32(0)), bundle.const(np.float32(6)))


def test_widths_that_fill_no_vector_multiply_as_densely():
    for channels in (26, 52):
        loops = hot_loops(assembly(written(two_convolutions(channels), parse_target("arm"))))
        assert all(loop.instructions / loop.multiplies < 1.6 for loop in loops.values() if loop.multiplies >= 16)
