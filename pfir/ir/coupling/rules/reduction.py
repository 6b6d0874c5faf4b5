"""Rules of pooling, reductions and resampling: space shrinks or grows, channels pass."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pfir.ir.coupling.edits import Fill, Literal
from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.edit import array, operand

NOT_UNDONE = "indices that count the positions of all channels go elsewhere, too, or to a tensor of other sizes"
EXACT = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")


def pool(op: Op) -> None:
    """Follow the channels of [N, C, *d], inside which windows lie.

    Indices of maxima count channels, which only a MaxUnpool undoes.
    """
    indices = len(op.outputs) > 1 and op.outputs[1]
    undone = indices and _undone(op)
    sizes = [1 if "Global" in op.kind else None] * (op.rank(0) - 2)
    op.know_shape(0, [*op.shape(0)[:2], *sizes])
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis > 1 or (indices and not (undone and axis == 1)):
            op.pin(labels, "its windows, or the indices it returns, run over this axis")
        op.out(0, axis, labels if axis < 2 else None)
        op.out(1, axis, labels if undone and axis == 1 else None)


def _undone(op: Op) -> bool:
    """Whether the indices serve MaxUnpools alone, which put back what was there in a tensor of the old sizes."""
    readers = op.node.outputs[1].outputs
    return all(n.op == "MaxUnpool" and n.inputs[0] is not n.inputs[1] and _restores(op, n) for n in readers)


def _restores(op: Op, node: gs.Node) -> bool:
    given = array(operand(node, 2))
    sizes = op.trace.shapes.get(node.outputs[0].name) if given is None else given.ravel().tolist()
    inner = op.shape(0)[2:]
    return sizes is not None and all(isinstance(d, int) for d in inner) and tuple(sizes[2:]) == inner


def unpool(op: Op) -> None:
    """Follow the channels of [N, C, *d] -> [N, C, *e], the way back of the MaxPool that made the indices."""
    made = op.node.inputs[1].inputs
    if not made or made[0].op != "MaxPool":
        raise Unfollowed("its indices count the positions of all channels, and do not come from a MaxPool")
    sizes = op.literal(2) if op.has(2) else None
    if op.has(2) and sizes is None:
        raise Unfollowed("its shape is known only at run time")
    op.know_shape(0, [*op.shape(0)[:2], *[None] * (op.rank(0) - 2)] if sizes is None else sizes.ravel().tolist())
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis != 1:
            op.pin(labels, "it puts numbers to places along this axis")
        op.out(0, axis, op.join([labels, op.labels(1, 1)], NOT_UNDONE) if axis == 1 else None)
    kept = op.trace.labels(op.outputs[0], 1)
    if kept is not None and sizes is not None:
        # The shape that it is given counts the channels, too.
        fill = Fill(1, (op.outputs[0], 1), 0, kept.size)
        op.rewrite(Literal(op.key, 2, entries(sizes), (fill,)))


def reduce(op: Op) -> None:
    """Let axes that are summed over lose zeros; a mean, a maximum or a product over them would notice."""
    rank = op.rank(0)
    axes, keep = _reduced_axes(op, rank), op.attr("keepdims", 1)
    place = 0
    op.know_shape(0, [1 if a in axes else dim for a, dim in enumerate(op.shape(0)) if keep or a not in axes])
    for axis in range(rank):
        labels = op.labels(0, axis)
        if axis in axes:
            _over(op, axis, labels)
        if axis not in axes or keep:
            op.out(0, place, None if axis in axes else labels)
            place += 1


def _over(op: Op, axis: int, labels) -> None:
    if op.kind in EXACT:
        op.consume(0, axis)
    else:
        op.pin(labels, f"{op.kind} over this axis depends on how many positions it has")


def _reduced_axes(op: Op, rank: int) -> list[int]:
    if op.kind in ("ArgMax", "ArgMin"):
        return [op.attr("axis", 0) % rank]
    axes = op.need_literal(1, "axes") if op.has(1) else op.attr("axes")
    if axes:
        return [a % rank for a in axes]
    return [] if op.attr("noop_with_empty_axes", 0) else list(range(rank))


def resize(op: Op) -> None:
    """Follow an axis whose scale is one; sizes that are given are rewritten."""
    rank = op.rank(0)
    axes = [a % rank for a in op.attr("axes") or range(rank)]
    if op.attr("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise Unfollowed("it crops")
    scales_at = 1 if op.trace.opset < 11 else 2  # opset 11 put a region of interest in front
    if op.has(3) and op.trace.opset >= 11:
        _by_sizes(op, rank, axes)
        return
    scales = op.attr("scales") or op.literal(scales_at)
    if scales is None:
        raise Unfollowed("its scales are known only at run time")
    _by_scales(op, rank, dict(zip(axes, list(scales), strict=True)))


def _by_scales(op: Op, rank: int, scales: dict) -> None:
    for axis in range(rank):
        labels = op.labels(0, axis)
        if scales.get(axis, 1) != 1:
            op.pin(labels, "it resamples this axis")
            labels = None
        op.out(0, axis, labels)


def _by_sizes(op: Op, rank: int, axes: list[int]) -> None:
    if op.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unfollowed("it keeps the aspect ratio")
    sizes = op.literal(3)
    if sizes is None:
        raise Unfollowed("its sizes are known only at run time")
    wanted = dict(zip(axes, sizes.ravel().tolist(), strict=True))
    fills = []
    for axis in range(rank):
        labels = op.labels(0, axis)
        if labels is not None and wanted.get(axis, labels.size) != labels.size:
            op.pin(labels, "it resamples this axis")
            labels = None
        op.out(0, axis, labels)
        if labels is not None and axis in wanted:
            fills.append(Fill(axes.index(axis), (op.inputs[0], axis), 0, labels.size))
    op.rewrite(Literal(op.key, 3, entries(sizes), tuple(fills)))


def entries(values) -> tuple[int | None, ...]:
    """A literal's integers; None for those that only a run can know."""
    return tuple(None if v is None or isinstance(v, str) else int(v) for v in values.ravel().tolist())
