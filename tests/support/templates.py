"""A classifier that is right and sure by construction, and images for it: each class is a template with noise."""

from __future__ import annotations

import numpy as np

from pfir.ir.model import Model
from tests.support.net import Net

CLASSES = 8
SIZE = 8
SHARPNESS = 6


def _template(kind: int) -> np.ndarray:
    """[3, 8, 8] in 0..1: red or blue, darker downwards or to the right, bright or not, by the bits of the class."""
    colour = np.array([1, 0, -1]) * (0.2 if kind & 1 else -0.2)
    slope = np.linspace(0.15, -0.15, SIZE)
    shade = slope[:, None] if kind & 2 else slope[None, :]
    return 0.4 + 0.15 * bool(kind & 4) + 0.01 * kind + colour[:, None, None] + np.broadcast_to(shade, (SIZE, SIZE))


TEMPLATES = np.stack([_template(kind) for kind in range(CLASSES)])


def nearest_template(more_outputs: bool = False) -> Model:
    """Scores [N, 8] that are largest at the template nearest to an image in 0..1; perhaps behind another output."""
    net = Net(0)
    x = net.input("N", 3, SIZE, SIZE)
    halves = -(TEMPLATES**2).sum((1, 2, 3)) / 2
    kernels = (net.const(SHARPNESS * TEMPLATES, np.float32), net.const(SHARPNESS * halves, np.float32))
    scores = net.op("Flatten", net.op("Conv", x, *kernels, kernel_shape=[SIZE, SIZE]))
    if not more_outputs:
        return net.model((scores,))
    return net.model((net.conv(x, 3, 4), scores))


def noisy(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 images [count, 3, 8, 8] in 0..1 and their classes, each as often as the others."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(count) % CLASSES)
    x = np.clip(TEMPLATES[y] + rng.normal(0, 0.1, (count, 3, SIZE, SIZE)), 0, 1)
    return x.astype(np.float32), y
