"""Networks and a training step in PyTorch as one writes them oneself, beside which the engines are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TEMPERATURE = 4.0


@dataclass(frozen=True)
class Net:
    """A network.

    Args:
        file: The trained model of the same structure.
        shape: Of one image.
        classes: How many.
        build: Its module.
    """

    file: str
    shape: tuple[int, int, int]
    classes: int
    build: Callable[[], Any]


def resnet(blocks: int) -> Any:
    """A residual network for CIFAR-10 of 6 blocks + 2 layers (He et al., arXiv:1512.03385, section 4.2)."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, a: int, b: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(*_unit(a, b, 3, stride), nn.ReLU(), *_unit(b, b, 3))
            self.skip = nn.Sequential(*_unit(a, b, 1, stride)) if stride > 1 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return nn.functional.relu(self.body(x) + self.skip(x))

    layers, before = [*_unit(3, 16, 3), nn.ReLU()], 16
    for width in (16, 32, 64):
        for i in range(blocks):
            layers.append(Block(before, width, 2 if i == 0 and width > 16 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mobilenet() -> Any:
    """MobileNetV1 of a quarter's width, for 96x96 images and two classes (MLPerf Tiny's visual wake words)."""
    from torch import nn

    widths = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    layers, before = [*_unit(3, 8, 3, 2), nn.ReLU()], 8
    for width, stride in widths:
        layers += [*_unit(before, before, 3, stride, before), nn.ReLU(), *_unit(before, width, 1), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


NETS = {
    "ResNet-20": Net("resnet20_cifar10_fp32.onnx", (3, 32, 32), 10, lambda: resnet(3)),
    "ResNet-56": Net("resnet56_cifar10_fp32.onnx", (3, 32, 32), 10, lambda: resnet(9)),
    "MobileNetV1 0.25": Net("mltk_visual_wake_words_fp32.onnx", (3, 96, 96), 2, mobilenet),
}


def plain_step(net: Net, batch: int, threads: int, taught: bool) -> Callable[[], None]:
    """One step on random images: the teacher's outputs, loss, gradients, torch.optim.SGD."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    student, teacher = (net.build().to(memory_format=torch.channels_last) for _ in range(2))
    teacher.eval()
    images = torch.randn(batch, *net.shape).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % net.classes
    optimizer = torch.optim.SGD(student.parameters(), 1e-4, 0.9, weight_decay=1e-4, nesterov=True)

    def loss(scores: Any) -> Any:
        if not taught:
            return functional.cross_entropy(scores, labels)
        with torch.no_grad():
            wanted = functional.softmax(teacher(images) / TEMPERATURE, 1)
        ours = functional.log_softmax(scores / TEMPERATURE, 1)
        return TEMPERATURE**2 * functional.kl_div(ours, wanted, reduction="batchmean")

    def step() -> None:
        optimizer.zero_grad()
        loss(student(images)).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 2.0)
        optimizer.step()

    return step


def _unit(a: int, b: int, kernel: int, stride: int = 1, group: int = 1) -> tuple[Any, Any]:
    """A convolution and its BatchNormalization."""
    from torch import nn

    return nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=group, bias=False), nn.BatchNorm2d(b)
