"""Resize as matrix products: along one axis, every interpolation is a linear map."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper, numpy_helper

from pfir.train.canonical.building import Builder, known_shape
from pfir.train.runtime import session


def resize(graph: gs.Graph, node: gs.Node) -> bool:
    """Resize -> one MatMul per resized axis; the matrix is what Resize itself makes of the unit vectors.

    Holds for every mode that treats the axes one by one (nearest, linear, cubic); cropping, antialiasing and kept
    aspect ratios stay as they are.
    """
    before, after = known_shape(node.inputs[0]), known_shape(node.outputs[0])
    if before is None or after is None or not separable(node):
        return False
    scales = _constant(node, 2)
    b = Builder(graph, node)
    x = node.inputs[0]
    for axis in (a for a in range(len(before)) if before[a] != after[a]):
        scale = float(scales[axis]) if scales is not None and scales.size else None
        x = _along(b, x, axis, len(before), unit_response(node, before[axis], after[axis], scale))
    return b.result("Identity", x)


def separable(node: gs.Node) -> bool:
    """Whether this Resize treats the axes one by one, and the whole of the input."""
    plain = not node.attrs.get("antialias", 0) and node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    whole = node.attrs.get("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"
    return plain and whole and "axes" not in node.attrs and not node.attrs.get("exclude_outside", 0)


def unit_response(node: gs.Node, before: int, after: int, scale: float | None) -> np.ndarray:
    """The matrix `[before, after]` of this Resize along one axis."""
    names = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    attrs = {k: v for k, v in node.attrs.items() if k != "axes"}
    inner = helper.make_node("Resize", names, ["y"], **attrs)
    extra = (
        numpy_helper.from_array(np.array([1, 1, scale, 1], np.float32), "scales")
        if scale is not None
        else numpy_helper.from_array(np.array([before, 1, after, 1], np.int64), "sizes")
    )
    taken, given = (
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [before, 1, s, 1])
        for n, s in (("x", before), ("y", after))
    )
    graph = helper.make_graph([inner], "axis", [taken], [given], [extra])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    units = np.eye(before, dtype=np.float32)[:, None, :, None]
    return session(model, 1).run(["y"], {"x": units})[0][:, 0, :, 0]


def _constant(node: gs.Node, at: int) -> np.ndarray | None:
    tensor = node.inputs[at] if len(node.inputs) > at else None
    return tensor.values if isinstance(tensor, gs.Constant) else None


def _along(b: Builder, x: gs.Tensor, axis: int, rank: int, matrix: np.ndarray) -> gs.Tensor:
    """Multiply along one axis: `[..., before, ...]` -> `[..., after, ...]`."""
    if axis == rank - 1:
        return b.op("MatMul", x, b.constant(matrix))
    if axis == rank - 2:
        return b.op("MatMul", b.constant(matrix.T), x)
    order = [a for a in range(rank) if a != axis] + [axis]
    moved = b.op("MatMul", b.op("Transpose", x, perm=order), b.constant(matrix))
    return b.op("Transpose", moved, perm=[int(a) for a in np.argsort(order)])


REWRITES = {"Resize": resize}
