"""Fixing the sizes of a training copy: every input gets the shape of the samples, with the batch that is trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.artifact import whole_inputs
from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.train.runtime import inference

# Agreement asked of the rewritten batch: float32 sums in another order, far below what a mixed-up sample would show.
TOLERANCE = 1e-3


def check_inputs(model: Model, fed: Collection[str]) -> None:
    """Return only if every input that data feed holds one entry a sample.

    Raises:
        TrainingError: One does not, as a state [layers, N, F] or a number without axes.
    """
    alone = whole_inputs([t for t in model.inputs() if t.name in fed])
    if alone:
        raise TrainingError(f"input {min(alone)} has no axis of samples in front, which training needs")


def with_batch(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Model:
    """A copy with these input shapes, `[batch, ...]`; shapes that the graph spells out follow the batch.

    A model made for a fixed batch often reshapes to literal sizes (`[1, -1]`); these are rewritten, and the result is
    run against the original sample by sample.

    Raises:
        TrainingError: The model works with its own batch only.
    """
    copy = model.clone()
    copy.source = None
    own = own_batch(model)
    batch = next(iter(shapes.values()))[0]
    if own is not None and own != batch:
        _scale_literals(copy, _inferred(model), own, batch)
    _set_inputs(copy, shapes)
    if own is not None and own != batch:
        _check_samples(model, copy, own, shapes)
    return copy


def own_batch(model: Model) -> int | None:
    """The batch that the model is made for; None if it takes any."""
    sizes = {t.shape[0] for t in model.graph.inputs if t.shape}
    fixed = {int(s) for s in sizes if isinstance(s, int | np.integer) and s > 0}
    return fixed.pop() if len(fixed) == 1 and len(sizes) == 1 else None


def _set_inputs(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    names = {t.name for t in model.graph.inputs}
    for tensor in model.graph.tensors().values():
        if isinstance(tensor, gs.Variable):
            tensor.shape = list(shapes[tensor.name]) if tensor.name in shapes and tensor.name in names else None


def _inferred(model: Model) -> dict[str, tuple[int, ...]]:
    proto = onnx.shape_inference.infer_shapes(model.to_proto(), data_prop=True)
    shapes = {}
    for info in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        dims = info.type.tensor_type.shape.dim
        if all(d.HasField("dim_value") for d in dims):
            shapes[info.name] = tuple(d.dim_value for d in dims)
    return shapes


def _scale_literals(model: Model, shapes: Mapping[str, tuple[int, ...]], own: int, batch: int) -> None:
    constant = {n.outputs[0].name: n.attrs["value"] for n in model.graph.nodes if n.op == "Constant"}
    for node in model.graph.nodes:
        at = {"Reshape": 1, "Expand": 1, "Resize": 3}.get(node.op)
        if at is None or len(node.inputs) <= at or not shapes.get(node.outputs[0].name):
            continue
        literal = node.inputs[at]
        literal = literal if isinstance(literal, gs.Constant) else constant.get(literal.name)
        if not isinstance(literal, gs.Constant) or not literal.values.size or literal.values[0] < 1:
            continue
        first = shapes[node.outputs[0].name][0]
        if first % own == 0:
            sizes = literal.values.copy()
            sizes[0] = first // own * batch
            node.inputs[at] = gs.Constant(f"{node.outputs[0].name}_sizes_for_{batch}", sizes)


def _check_samples(model: Model, copy: Model, own: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Run both on the same random samples; what differs shows that samples are mixed or lost."""
    random = np.random.default_rng(0)
    inputs = {t.name: t for t in model.graph.inputs}
    feeds = {n: random.normal(size=s).astype(inputs[n].dtype) for n, s in shapes.items() if n in inputs}
    batch = next(iter(shapes.values()))[0]
    parts = [{n: x[at : at + own] for n, x in feeds.items()} for at in range(0, batch, own)]
    whole = _runs(copy, [feeds], model)[0]
    for i, runs in enumerate(zip(*_runs(model, parts, model), strict=True)):
        # Scalars are losses: means over the samples.
        expected = np.concatenate(runs) if runs[0].ndim else np.mean(runs)
        if whole[i].shape != expected.shape or not np.allclose(whole[i], expected, rtol=TOLERANCE, atol=TOLERANCE):
            name = model.graph.outputs[i].name
            raise TrainingError(f"{model.name} works with a batch of {own} only: {name} differs in one of {batch}")


def _runs(changed: Model, feeds: list[dict[str, np.ndarray]], model: Model) -> list[list[np.ndarray]]:
    try:
        runner, names = inference(changed, jobs=1), [t.name for t in model.graph.outputs]
        return [runner.run(names, each) for each in feeds]
    except Exception as error:  # ONNX Runtime's own exceptions share no base below Exception
        raise TrainingError(f"{model.name} cannot run with another batch: {str(error).splitlines()[0]}") from error
