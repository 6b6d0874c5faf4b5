"""A Pad in front of a convolution or pooling becomes that node's own padding, where that is exact."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, operand, producer

# Their results are never below zero, so zeros from a Pad never win a maximum.
_NON_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Abs", "Softmax", "Exp", "Softplus")


def merge_pads(graph: gs.Graph) -> int:
    """Let each convolution and pooling that reads a Pad do the padding itself; the number of those that do now."""
    count = 0
    for node in graph.nodes:
        pad = producer(node.inputs[0]) if node.inputs and is_op(node, "Conv", "AveragePool", "MaxPool") else None
        amounts = _spatial_pads(pad) if pad is not None and is_op(pad, "Pad") else None
        if pad is None or amounts is None or not _accepts(node, pad, amounts):
            continue
        own = np.asarray(node.attrs.get("pads", [0] * amounts.size))
        node.attrs["pads"] = [int(v) for v in own + amounts]
        node.attrs.pop("auto_pad", None)
        if node.op == "AveragePool":
            node.attrs["count_include_pad"] = 1
        node.inputs[0] = pad.inputs[0]
        count += 1
    return count


def _spatial_pads(pad: gs.Node) -> np.ndarray | None:
    """The begins and ends of axes 2 and on, if those alone are padded, by a constant, and by nothing negative."""
    if pad.attrs.get("mode", "constant") != "constant" or operand(pad, 3) is not None:
        return None
    pads = np.asarray(pad.attrs["pads"]) if "pads" in pad.attrs else array(operand(pad, 1))
    if pads is None or pads.size < 6 or (pads < 0).any():
        return None
    begins, ends = pads.reshape(2, -1)
    if begins[:2].any() or ends[:2].any():
        return None
    return np.concatenate([begins[2:], ends[2:]])


def _value(pad: gs.Node) -> float | None:
    if operand(pad, 2) is None:
        return float(pad.attrs.get("value", 0.0))
    value = array(operand(pad, 2))
    return None if value is None else float(value.ravel()[0])


def _accepts(node: gs.Node, pad: gs.Node, amounts: np.ndarray) -> bool:
    if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    own = np.asarray(node.attrs.get("pads", [0] * amounts.size))
    if own.size != amounts.size:
        return False
    if node.op == "Conv":
        return _value(pad) == 0.0
    kernel = np.asarray(list(node.attrs["kernel_shape"]) * 2)
    plain = not node.attrs.get("ceil_mode", 0) and all(d == 1 for d in node.attrs.get("dilations", [1]))
    # ONNX Runtime refuses pooling whose padding reaches the kernel's size.
    if not plain or own.any() or kernel.size != amounts.size or (amounts >= kernel).any() or len(node.outputs) > 1:
        return False
    return _value(pad) == 0.0 if node.op == "AveragePool" else _never_wins(pad)


def _never_wins(pad: gs.Node) -> bool:
    value = _value(pad)
    if value is None or value > 0:
        return False
    if np.isneginf(value) or value <= np.finfo(np.float32).min:
        return True
    before = producer(pad.inputs[0])
    if before is None or value != 0.0:
        return False
    if is_op(before, "Clip"):
        low = before.attrs.get("min", array(operand(before, 1)))
        return low is not None and float(np.asarray(low)) >= 0.0
    return is_op(before, *_NON_NEGATIVE)
