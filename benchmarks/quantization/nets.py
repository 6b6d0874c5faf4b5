"""The networks of the eight-bit benchmarks, simplified, and quantized on random inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pfir.compile.prepare import BASELINE
from pfir.data.generated import generated
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.quantization.placement import KERNELS
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.run.activations import activations

NETS = {
    "resnet20": "resnet20_cifar10_fp32.onnx",
    "resnet56": "resnet56_cifar10_fp32.onnx",
    "efficientnet_lite0": "efficientnet_lite0_in1k_fp32_static.onnx",
    "face landmark": "mediapipe_face_landmark.onnx",
    "keyword": "mltk_keyword_spotting_fp32.onnx",
    "visual wake words": "mltk_visual_wake_words_fp32.onnx",
    "MLPerf-Tiny resnet-8": "mltk_image_classification_fp32.onnx",
}


def simplified(path: Path) -> Model:
    """The model of a file, as any compiler would simplify it."""
    return run(BASELINE, fix_sizes(load(path)), Context())[0]


def quantized(model: Model, samples: int = 8, pairs: str = KERNELS) -> Model:
    """The model in eight bits, its ranges those of random inputs; `pairs` says where activations are rounded."""
    data = generated(model.inputs(), samples)

    def taken(of: Model, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        return activations(of, names, data, 1)

    return run((QuantizeUniform(calibration="min-max", pairs=pairs),), model, Context(activations=taken))[0]
