"""Families of operators beside ONNX Runtime: a model of each alone, and one block of a transformer's encoder.

    python benchmarks/kernels/families.py [--rounds 5] [--only WORD...]

One thread, each side in a process of its own, in turn; a round's ratio is ours / theirs of the medians of its single
runs, and the table has the median of the rounds' ratios. Inputs and outputs lie in ONNX's order, so that where a kernel
wants its channels last the copies count, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import Scaled  # noqa: E402
from benchmarks.kernels.networks import RESULTS  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from pfir.artifact import SLOW_KERNELS  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.devices.host import HostDevice, cpu_name  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.run.rival import time_onnxruntime  # noqa: E402
from pfir.target import parse_target  # noqa: E402

Make = Callable[[Scaled], str]


def one(op: str, *shape: int, weights: tuple[tuple[int, ...], ...] = (), **attributes) -> Make:
    """The operator on one input, behind which stand random weights of these shapes."""
    return lambda net: net.op(op, net.input(*shape), *(net.w(*w) for w in weights), **attributes)


def conv(channels: int, out: int, size: int, group: int, kernel: int = 3) -> Make:
    return lambda net: net.conv(net.input(1, channels, size, size), channels, out, kernel, group)


def layer_norm(*shape: int) -> Make:
    return lambda net: net.op("LayerNormalization", net.input(*shape), net.w(shape[-1]), net.w(shape[-1]), axis=-1)


def layer_norm_decomposed(*shape: int) -> Make:
    def make(net: Scaled) -> str:
        x = net.input(*shape)
        centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
        variance = net.op("ReduceMean", net.op("Mul", centred, centred), axes=[-1])
        deviation = net.op("Sqrt", net.op("Add", variance, _number(net, 1e-5)))
        return net.op("Add", net.op("Mul", net.op("Div", centred, deviation), net.w(shape[-1])), net.w(shape[-1]))

    return make


def rms_norm(*shape: int) -> Make:
    def make(net: Scaled) -> str:
        x = net.input(*shape)
        square = net.op("ReduceMean", net.op("Mul", x, x), axes=[-1])
        return net.op(
            "Mul", net.op("Div", x, net.op("Sqrt", net.op("Add", square, _number(net, 1e-5)))), net.w(shape[-1])
        )

    return make


def group_norm(channels: int, size: int, groups: int) -> Make:
    """As exporters write it: over groups as one axis."""

    def make(net: Scaled) -> str:
        x = net.op("Reshape", net.input(1, channels, size, size), net.ints(1, groups, -1))
        y = net.op("InstanceNormalization", x, net.positive(groups), net.w(groups))
        y = net.op("Reshape", y, net.ints(1, channels, size, size))
        return net.op("Add", net.op("Mul", y, net.w(channels, 1, 1)), net.w(channels, 1, 1))

    return make


def product(*shapes: tuple[int, ...]) -> Make:
    return lambda net: net.op("MatMul", *(net.input(*shape) for shape in shapes))


def hard_swish(*shape: int) -> Make:
    def make(net: Scaled) -> str:
        x = net.input(*shape)
        return net.op("Mul", x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))

    return make


def gelu(*shape: int) -> Make:
    """As exporters write it."""

    def make(net: Scaled) -> str:
        return _gelu(net, net.input(*shape))

    return make


def swish(*shape: int) -> Make:
    def make(net: Scaled) -> str:
        x = net.input(*shape)
        return net.op("Mul", x, net.op("Sigmoid", x))

    return make


def squeeze_and_excite(channels: int, size: int) -> Make:
    def make(net: Scaled) -> str:
        x, inner = net.input(1, channels, size, size), channels // 4
        y = net.relu(net.conv(net.op("GlobalAveragePool", x), channels, inner, 1))
        return net.op("Mul", x, net.op("Sigmoid", net.conv(y, inner, channels, 1)))

    return make


def resize(channels: int, size: int, mode: str) -> Make:
    def make(net: Scaled) -> str:
        scales = net.const(np.array([1, 1, 2, 2], np.float32))
        x = net.input(1, channels, size, size)
        return net.op(
            "Resize",
            x,
            "",
            scales,
            mode=mode,
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric" if mode == "nearest" else "half_pixel",
        )

    return make


def concat(channels: int, size: int) -> Make:
    def make(net: Scaled) -> str:
        return net.op("Concat", *(net.input(1, channels, size, size) for _ in range(2)), axis=1)

    return make


def split(channels: int, size: int) -> Make:
    def make(net: Scaled) -> str:
        a, b = net.op(
            "Split", net.input(1, channels, size, size), net.ints(channels // 2, channels // 2), axis=1, outs=2
        )
        return net.op("Mul", a, net.op("Sigmoid", b))

    return make


def encoder(length: int, width: int, heads: int) -> Make:
    """Self-attention and two dense layers, each with a residual and a norm; Vaswani et al., arXiv:1706.03762."""

    def make(net: Scaled) -> str:
        x = net.input(1, length, width)
        y = net.op("Add", x, net.linear(_attention(net, x, length, width, heads), width, width))
        y = net.op("LayerNormalization", y, net.positive(width), net.w(width), axis=-1)
        z = net.linear(_gelu(net, net.linear(y, width, 4 * width)), 4 * width, width)
        return net.op("LayerNormalization", net.op("Add", y, z), net.positive(width), net.w(width), axis=-1)

    return make


def _attention(net: Scaled, x: str, length: int, width: int, heads: int) -> str:
    depth = width // heads

    def head(perm: list[int]) -> str:
        apart = net.op("Reshape", net.linear(x, width, width), net.ints(1, length, heads, depth))
        return net.op("Transpose", apart, perm=perm)

    query, key, value = head([0, 2, 1, 3]), head([0, 2, 3, 1]), head([0, 2, 1, 3])
    scores = net.op("Div", net.op("MatMul", query, key), _number(net, np.sqrt(depth)))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), value)
    return net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.ints(1, length, width))


def _gelu(net: Scaled, x: str) -> str:
    y = net.op("Add", net.op("Erf", net.op("Div", x, _number(net, np.sqrt(2)))), _number(net, 1))
    return net.op("Mul", net.op("Mul", x, y), _number(net, 0.5))


def _number(net: Scaled, value: float) -> str:
    return net.const(np.float32(value))


POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
FAMILIES: dict[str, Make] = {
    "Softmax 8x128x128": one("Softmax", 8, 128, 128, axis=-1),
    "Softmax 1x1000": one("Softmax", 1, 1000, axis=-1),
    "LayerNormalization 128x256": layer_norm(1, 128, 256),
    "LayerNormalization 128x256, decomposed": layer_norm_decomposed(1, 128, 256),
    "RMS norm 128x256": rms_norm(1, 128, 256),
    "InstanceNormalization 64x28x28": one("InstanceNormalization", 1, 64, 28, 28, weights=((64,), (64,))),
    "GroupNorm 64x28x28, 8 groups": group_norm(64, 28, 8),
    "MaxPool 3x3/2 64x56x56": one("MaxPool", 1, 64, 56, 56, **POOL),
    "MaxPool 2x2/2 32x32x32": one("MaxPool", 1, 32, 32, 32, kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool 3x3/2 64x56x56": one("AveragePool", 1, 64, 56, 56, **POOL),
    "AveragePool 2x2/2 32x32x32": one("AveragePool", 1, 32, 32, 32, kernel_shape=[2, 2], strides=[2, 2]),
    "GlobalAveragePool 256x14x14": one("GlobalAveragePool", 1, 256, 14, 14),
    "GlobalMaxPool 256x14x14": one("GlobalMaxPool", 1, 256, 14, 14),
    "ConvTranspose 2x2/2 32x16x16": one(
        "ConvTranspose", 1, 32, 16, 16, weights=((32, 16, 2, 2), (16,)), kernel_shape=[2, 2], strides=[2, 2]
    ),
    "ConvTranspose 3x3/2 32x16x16": one(
        "ConvTranspose",
        1,
        32,
        16,
        16,
        weights=((32, 16, 3, 3), (16,)),
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1] * 4,
        output_padding=[1, 1],
    ),
    "ConvTranspose 4x4/2 32x16x16": one(
        "ConvTranspose",
        1,
        32,
        16,
        16,
        weights=((32, 16, 4, 4), (16,)),
        kernel_shape=[4, 4],
        strides=[2, 2],
        pads=[1] * 4,
    ),
    "Conv 3x3 32x28x28, groups of 2": conv(32, 32, 28, 16),
    "Conv 3x3 32x28x28, groups of 4": conv(32, 32, 28, 8),
    "Conv 3x3 64x28x28, groups of 8": conv(64, 64, 28, 8),
    "Conv 1x1 64x28x28, groups of 16": conv(64, 64, 28, 4, 1),
    "MatMul 128x256x256, weights": one("MatMul", 1, 128, 256, weights=((256, 256),)),
    "MatMul 128x256x1024, weights": one("MatMul", 1, 128, 256, weights=((256, 1024),)),
    "MatMul 128x1024x256, weights": one("MatMul", 1, 128, 1024, weights=((1024, 256),)),
    "MatMul 8x128x32x128": product((8, 128, 32), (8, 32, 128)),
    "MatMul 8x128x128x32": product((8, 128, 128), (8, 128, 32)),
    "Hard swish 64x28x28": hard_swish(1, 64, 28, 28),
    "Swish 64x28x28": swish(1, 64, 28, 28),
    "GELU 128x1024": gelu(1, 128, 1024),
    "Tanh 64x28x28": one("Tanh", 1, 64, 28, 28),
    "Squeeze and excite 64x28x28": squeeze_and_excite(64, 28),
    "Resize x2 nearest 32x28x28": resize(32, 28, "nearest"),
    "Resize x2 linear 32x28x28": resize(32, 28, "linear"),
    "Concat 2 of 32x28x28": concat(32, 28),
    "Split and gate 64x28x28": split(64, 28),
    "PRelu 64x28x28": one("PRelu", 1, 64, 28, 28, weights=((64, 1, 1),)),
    "Encoder block, 128x128, 4 heads": encoder(128, 128, 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[""], help="Families whose names hold one of these.")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels_families")
    options = parser.parse_args()
    command = f"python benchmarks/kernels/families.py --rounds {options.rounds}"
    found = {"command": command, "cpu": cpu_name(), "rows": []}
    with HostDevice() as device:
        for name, make in FAMILIES.items():
            if any(word in name for word in options.only):
                found["rows"].append(row(name, make, device, options.rounds))
                write(found, page(found), options.out)


def row(name: str, make: Make, device: HostDevice, rounds: int) -> dict[str, object]:
    """Both sides, in turn."""
    model, ours, theirs = model_of(make), [], []
    artifact = TvmBackend().build(model, parse_target("host"))
    for _ in range(rounds):
        ours.append(device.measure(artifact).seconds)
        timing = time_onnxruntime(model, 1)
        theirs.append(float(np.median(timing.seconds)))
    ratio = float(np.median(np.divide(ours, theirs)))
    print(f"{name}: {ratio:.2f}, {1e6 * np.median(ours):.1f} us", artifact.notes.get(SLOW_KERNELS, ""), flush=True)
    return {
        "family": name,
        "seconds": float(np.median(ours)),
        "onnxruntime_s": float(np.median(theirs)),
        "ratio": ratio,
        "version": timing.version,
        "slow": artifact.notes.get(SLOW_KERNELS, ""),
    }


def model_of(make: Make) -> Model:
    net = Scaled(1, opset=17)
    return fix_sizes(net.model((make(net),)))


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Families of operators beside ONNX Runtime\n"
    yield f"`{found['command']}` on {found['cpu']}, one thread, onnxruntime {found['rows'][0]['version']}.\n"
    yield "Each family is a model of its own, with inputs and outputs in ONNX's order. Medians of the rounds' ratios,"
    yield "ours / theirs: below 1 is faster.\n"
    yield "| family | ours, us | onnxruntime, us | ratio |\n|---|---|---|---|"
    for r in found["rows"]:
        yield f"| {r['family']} | {1e6 * r['seconds']:.1f} | {1e6 * r['onnxruntime_s']:.1f} | {r['ratio']:.2f} |"


if __name__ == "__main__":
    main()
