"""Element-wise chains over tensors of several sizes and orders: each operator by itself, and broadcast operands."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from pfir.ir.model import Model
from tests.support.net import Net

UNARY = (
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.1}),
    ("Clip", {}),
    ("Neg", {}),
    ("Abs", {}),
    ("Reciprocal", {}),
    ("Sqrt", {}),
    ("Floor", {}),
    ("Sigmoid", {}),
    ("HardSigmoid", {}),
    ("HardSwish", {}),
    ("Tanh", {}),
    ("Exp", {}),
    ("Erf", {}),
    ("Gelu", {}),
    ("Elu", {}),
    ("Selu", {}),
    ("Softsign", {}),
    ("ThresholdedRelu", {}),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")
SHAPES = (
    (1, 16, 20, 20),
    (1, 10, 13, 13),
    (1, 7, 9, 5),
    (2, 64, 28, 28),
    (1, 3, 224, 224),
    (1, 1280, 1, 1),
    (1, 197, 192),
)
TARGETS = ("arm", "cortex-a55", "cortex-a76+fp16")


def nets() -> Iterator[tuple[Model, str]]:
    """Every operator, then sums and products in several shapes."""
    for target in TARGETS:
        some = UNARY if target != "cortex-a55" else UNARY[:9:4]
        yield from ((_unary(*operator), target) for operator in some)
        yield from ((_binary(operator, SHAPES[0], SHAPES[0]), target) for operator in BINARY)
    for target in ("arm", "cortex-a76+fp16"):
        for shape in SHAPES[1:] if target == "arm" else SHAPES[1:-1]:
            yield _binary("Add", shape, shape), target
            yield _binary("Mul", shape, (1, shape[1], *[1] * (len(shape) - 2))), target
        yield _scaled((1, 96, 14, 14)), target
        yield _swish((1, 40, 28, 28)), target
        yield _scaled((1, 50, 7, 7)), target


def _unary(operator: str, attributes: dict[str, float]) -> Model:
    net = Net(0, opset=20)
    x = _first(net, SHAPES[0])
    limits = (net.const(0.0, "float32"), net.const(6.0, "float32")) if operator == "Clip" else ()
    x = net.op(operator, x, *limits, **attributes)
    return net.model((x,))


def _binary(operator: str, shape: tuple[int, ...], other: tuple[int, ...]) -> Model:
    net = Net(0, opset=20)
    return net.model((net.op(operator, _first(net, shape), _first(net, other)),))


def _first(net: Net, shape: tuple[int, ...]) -> str:
    """An input in the order of images, where it is one, which is an output too, so that its kernel ends with it."""
    if len(shape) != 4:
        return net.input(*shape)
    x = net.op("MaxPool", net.input(*shape), kernel_shape=[1, 1])
    net.named.append(x)
    return x


def _scaled(shape: tuple[int, ...]) -> Model:
    """What stands between squeezing and the image: a sigmoid of one value a channel, and its product."""
    net = Net(0, opset=20)
    image, gate = _first(net, shape), _first(net, (*shape[:2], 1, 1))
    return net.model((net.op("Mul", image, net.op("Sigmoid", gate)),))


def _swish(shape: tuple[int, ...]) -> Model:
    net = Net(0, opset=20)
    x = _first(net, shape)
    return net.model((net.op("Mul", x, net.op("Sigmoid", x)),))


def wanted(kernel: SingleKernel) -> bool:
    return kernel.group.head.op != "MaxPool"
