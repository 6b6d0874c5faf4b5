"""Kernels that move data by rules of their own: borders, joints, samples and tables."""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.kernels.common import Operand, as_float, parallel, placeholders, schedule_of, tail, to_index
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE


def move(spec: KernelSpec, tile: PlainTile) -> Any:
    """A scheduled kernel; `spec` has `kind`, a name in `SOURCES`, and what that source needs."""
    from tvm import te

    operands = placeholders(spec)
    source = SOURCES[spec["kind"]]

    def out(*memory: Any) -> Any:
        index = to_index(spec.out, memory)
        return tail(spec, operands, index, source(spec, operands, index))

    return _schedule(schedule_of(operands, te.compute(spec.out.memory, out, name="out")), tile)


def _pad(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    from tvm import tirx

    data, inside, moved = operands[0], [], []
    for i, begin, end, size in zip(index, spec["begins"], spec["ends"], data.form.shape, strict=True):
        if spec["mode"] != "constant":
            moved.append(_fold_back(i - begin, size, spec["mode"]) if begin or end else i)
            continue
        inside += ([i >= begin] if begin > 0 else []) + ([i < begin + size] if end > 0 else [])
        moved.append(i - begin)
    if not inside:
        return data(*moved)
    value = data(*moved)
    return tirx.if_then_else(tirx.all(*inside), value, const(spec["value"]).astype(str(value.ty)))


def _fold_back(i: Any, size: int, mode: str) -> Any:
    from tvm import tirx

    if mode == "edge":
        return tirx.max(0, tirx.min(i, size - 1))
    i = tirx.Select(i < 0, -i, i)
    return tirx.Select(i >= size, 2 * (size - 1) - i, i)


def _concat(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    from tvm import tirx

    axis, parts = spec["axis"], operands[: spec.own]
    offset = sum(part.form.shape[axis] for part in parts[:-1])
    value = parts[-1](*_moved(index, axis, offset))
    for part in reversed(parts[:-1]):
        offset_end = offset
        offset -= part.form.shape[axis]
        value = tirx.if_then_else(index[axis] < offset_end, part(*_moved(index, axis, offset)), value)
    return value


def _moved(index: tuple[Any, ...], axis: int, offset: int) -> tuple[Any, ...]:
    return (*index[:axis], index[axis] - offset, *index[axis + 1 :])


def _reshape(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    """The element at the same place in ONNX's row-major order."""
    flat = 0
    for i, size in zip(index, spec.out.shape, strict=True):
        flat = flat * size + i
    source = []
    for size in reversed(operands[0].form.shape):
        source.insert(0, flat % size)
        flat = flat // size
    return operands[0](*source)


def _resize(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    """Nearest or linear samples along each resized axis; the others are copied."""
    return _sample(spec, operands[0], list(index), 0)


def _sample(spec: KernelSpec, data: Operand, index: list[Any], axis: int) -> Any:
    if axis == len(index):
        return data(*index)
    size_in, size_out = data.form.shape[axis], spec.out.shape[axis]
    if size_in == size_out and spec["scales"][axis] == 1.0:
        return _sample(spec, data, index, axis + 1)
    taps = _taps(spec, index[axis], size_in, size_out, spec["scales"][axis])
    total = None
    for place, weight in taps:
        value = _sample(spec, data, [*index[:axis], place, *index[axis + 1 :]], axis + 1)
        value = value if weight is None else as_float(value, SINGLE) * weight
        total = value if total is None else total + value
    return total


def _taps(spec: KernelSpec, i: Any, size_in: int, size_out: int, scale: float) -> list[tuple[Any, Any]]:
    """Places in the input and their weights for output position `i` (ONNX Resize's coordinate rules)."""
    from tvm import tirx

    x, mode = i.astype("float32"), spec["coordinates"]
    inverse = const(1.0 / scale)
    if mode == "asymmetric":
        x = x * inverse
    elif mode == "align_corners":
        x = x * const((size_in - 1) / (size_out - 1) if size_out > 1 else 0.0)
    elif mode == "pytorch_half_pixel" and size_out == 1:
        x = const(0)
    else:
        x = (x + const(0.5)) * inverse - const(0.5)
    if spec["mode"] == "nearest":
        place = {
            "floor": tirx.floor(x),
            "ceil": tirx.ceil(x),
            "round_prefer_floor": tirx.ceil(x - const(0.5)),
            "round_prefer_ceil": tirx.floor(x + const(0.5)),
        }[spec["nearest"]]
        return [(_inside(place, size_in), None)]
    low = tirx.floor(x)
    share = x - low
    return [(_inside(low, size_in), const(1) - share), (_inside(low + const(1), size_in), share)]


def _inside(place: Any, size: int) -> Any:
    from tvm import tirx

    return tirx.max(0, tirx.min(place.astype("int32"), size - 1))


def _gather(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    data, places = operands[:2]
    axis, rank = spec["axis"], spec["rank"]
    place = places(*index[axis : axis + rank]) if rank else places(0)
    return data(*index[:axis], place, *index[axis + rank :])


def _depth_to_space(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    n, c, y, x = index
    block, channels = spec["block"], spec.out.shape[1]
    cell = (y % block) * block + x % block
    channel = cell * channels + c if spec["mode"] == "DCR" else c * block * block + cell
    return operands[0](n, channel, y // block, x // block)


def _space_to_depth(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    n, c, y, x = index
    block, channels = spec["block"], operands[0].form.shape[1]
    cell = c // channels
    return operands[0](n, c % channels, y * block + cell // block, x * block + cell % block)


def _phases(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...]) -> Any:
    """Phases of a transposed convolution stand beside each other as channels."""
    n, c, y, x = index
    (sh, sw), (top, left), channels = spec["strides"], spec["shifts"], spec.out.shape[1]
    phase = (y + top) % sh * sw + (x + left) % sw
    return operands[0](n, phase * channels + c, (y + top) // sh, (x + left) // sw)


SOURCES = {
    "pad": _pad,
    "concat": _concat,
    "reshape": _reshape,
    "resize": _resize,
    "gather": _gather,
    "phases": _phases,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
}


def _schedule(schedule: Any, tile: PlainTile) -> Any:
    loops = schedule.get_loops(schedule.get_sblock("out"))
    if not loops:
        return schedule
    inner = loops[-1]
    extent = int(schedule.get(inner).extent)
    lanes = next((n for n in (tile.lanes, tile.lanes // 2, tile.lanes // 4) if n > 1 and extent % n == 0), 0)
    task = schedule.fuse(*loops[:-1]) if len(loops) > 1 else None
    if lanes or extent > tile.lanes:
        _, vector = schedule.split(inner, [None, lanes or tile.lanes])
        schedule.vectorize(vector)
    if task is not None:
        parallel(schedule, tile, task)
    return schedule
