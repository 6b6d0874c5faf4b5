"""Quantized nets in tests: small ones, and integers that ONNX Runtime computes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.run.activations import expose
from tests.support.calibration import context
from tests.support.net import Net, feeds
from tests.support.runs import run as ort_run

PLAIN = {"equalize": False, "bias_correction": False}
"""Fields without the steps that measure."""


def residual(seed: int = 0) -> Model:
    """Convolutions of three kinds with a shortcut, then a classifier."""
    net = Net(seed)
    x = net.relu(net.conv(net.input("N", 3, 12, 12), 3, 8))
    y = net.relu(net.conv(x, 8, 8, group=8))
    x = net.relu(net.op("Add", x, net.conv(y, 8, 8, k=1)))
    net.output("y", net.head(x, 8))
    return net.model()


def random_samples(model: Model, count: int = 8) -> Context:
    """Calibration by random inputs of any type, one sample or fixed batch at a time."""
    given = [feeds(model, seed) for seed in range(count)]

    def activations(asked: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        copy = asked.clone()
        fed, tensors = {t.name for t in copy.graph.inputs}, copy.graph.tensors()
        computed = [name for name in names if name not in fed]
        expose(copy.graph, [tensors[name] for name in computed])
        for inputs in given:
            values = dict(zip(computed, ort_run(copy, inputs), strict=True)) if computed else {}
            yield {name: inputs[name] if name in fed else values[name] for name in names}

    return Context(activations=activations)


def quantized(model: Model, given: Context | None = None, **fields: object) -> Model:
    """The model quantized by these fields, on the samples of `tests.support.calibration` unless others are given."""
    return run([QuantizeUniform(**fields)], model, given or context(model))[0]  # type: ignore[arg-type]


def operators_in_a_run(model: Model, folder: Path) -> Counter[str]:
    """How many nodes of each operator ONNX Runtime makes of a model."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model.to_bytes(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)
