"""Changes to fields of a protobuf message: whatever protobuf can hold, whether ONNX allows it or not."""

from __future__ import annotations

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from benchmarks.fuzz.case import chance, pick
from benchmarks.fuzz.damage import damaged

INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    64,
    1000,
    65536,
    2**20,
    2**28,
    2**31 - 1,
    2**31,
    2**40,
    2**63 - 1,
    -2,
    -(2**63),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    " ",
    "N",
    "?",
    "batch_size",
    "a/b",
    "../x",
    "x" * 5000,
    "ö\u202e\x1b[31m",
    "%s{0}",
    "<script>",
    "SAME_UPPER",
    "\n",
)
_MESSAGE, _STRING, _BYTES = FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)


def change_a_field(rng: np.random.Generator, message: Message, names: tuple[str, ...]) -> str:
    """Change one field somewhere within the message; say which.

    Args:
        names: Texts that occur in the model, which a text may be replaced by.
    """
    place = _descend(rng, message)
    given = [field for field, _ in place.ListFields()]
    field = pick(rng, given) if given and chance(rng, 0.85) else pick(rng, place.DESCRIPTOR.fields)
    what = f"{place.DESCRIPTOR.name}.{field.name}"
    if _repeated(place, field):
        _change_list(rng, getattr(place, field.name), field, names)
    elif chance(rng, 0.15):
        place.ClearField(field.name)
    elif field.type == _MESSAGE:
        _exchange_message(rng, getattr(place, field.name))
    else:
        _set(place, field, _value(rng, field, getattr(place, field.name), names))
    return what


def _descend(rng: np.random.Generator, message: Message) -> Message:
    """A message somewhere below; those deeper down are as likely as their number says, but for long lists."""
    while True:
        below = [m for field, value in message.ListFields() if field.type == _MESSAGE for m in _several(value)]
        if not below or chance(rng, 0.12):
            return message
        message = pick(rng, below)


def _several(value) -> list[Message]:
    return [value] if isinstance(value, Message) else list(value[:200])


def _repeated(message: Message, field: FieldDescriptor) -> bool:
    value = getattr(message, field.name)
    return not isinstance(value, Message | str | bytes | int | float | bool)


def _change_list(rng: np.random.Generator, values, field: FieldDescriptor, names: tuple[str, ...]) -> None:
    action = pick(rng, ("delete", "repeat", "exchange", "add", "change", "change"))
    if not len(values) or action == "add":
        values.add() if field.type == _MESSAGE else _append(values, _value(rng, field, None, names))
    elif action == "delete":
        del values[int(rng.integers(len(values)))]
    elif action == "repeat":
        one = pick(rng, values)
        values.add().CopyFrom(one) if field.type == _MESSAGE else values.append(one)
    elif action == "exchange" and field.type == _MESSAGE:
        values[int(rng.integers(len(values)))].CopyFrom(pick(rng, list(values)))
    elif field.type == _MESSAGE:
        _exchange_message(rng, pick(rng, values))
    else:
        at = int(rng.integers(len(values)))
        _put(values, at, _value(rng, field, values[at], names))


def _exchange_message(rng: np.random.Generator, message: Message) -> None:
    """Empty a field of it, or all."""
    given = [field for field, _ in message.ListFields()]
    if given and chance(rng, 0.8):
        message.ClearField(pick(rng, given).name)
    else:
        message.Clear()


def _value(rng: np.random.Generator, field: FieldDescriptor, old, names: tuple[str, ...]):
    if field.type == _STRING:
        return pick(rng, names) if names and chance(rng, 0.7) else pick(rng, TEXTS)
    if field.type == _BYTES:
        return damaged(rng, old, 2) if old else rng.bytes(int(rng.integers(0, 40)))
    if field.type in _FLOATS:
        return pick(rng, FLOATS)
    if field.enum_type is not None:
        return int(rng.integers(-1, 30))
    return int(old) + pick(rng, (-1, 1)) if old is not None and chance(rng, 0.4) else pick(rng, INTEGERS)


def _set(message: Message, field: FieldDescriptor, value) -> None:
    try:
        setattr(message, field.name, value)
    except (ValueError, TypeError):  # does not fit the field's width
        setattr(message, field.name, 1)


def _append(values, value) -> None:
    try:
        values.append(value)
    except (ValueError, TypeError):
        values.append(1)


def _put(values, at: int, value) -> None:
    try:
        values[at] = value
    except (ValueError, TypeError):
        values[at] = 1
