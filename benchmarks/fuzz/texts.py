"""Changes to JSON that keep it JSON, or nearly."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.fuzz.case import chance, pick
from benchmarks.fuzz.damage import damaged

_VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    1e308,
    2**63,
    10**400,
    "",
    "x",
    "NaN",
    [],
    {},
    [None],
    {"a": 1},
    [[]],
    "\ud800",
    "x" * 3000,
)
_TEXTS = (
    "",
    " ",
    "null",
    "[]",
    "{}",
    "1",
    '"x"',
    "[" * 100_000,
    '{"a":' * 5000,
    "NaN",
    "{" + '"format": 1}',
    "\ufeff{}",
    "1" * 5000,
)


def changed_json(rng: np.random.Generator, text: str) -> bytes:
    """The text with a value changed somewhere, or damaged, or another text."""
    how = rng.random()
    if how < 0.15:
        return damaged(rng, text.encode())
    if how < 0.22:
        return pick(rng, _TEXTS).encode("utf-8", "surrogatepass")
    content = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        content = changed_value(rng, content)
    return json.dumps(content).encode()


def changed_value(rng: np.random.Generator, value):
    """A value with something changed within it."""
    if isinstance(value, dict) and value and not chance(rng, 0.08):
        return _changed_object(rng, value)
    if isinstance(value, list) and value and not chance(rng, 0.08):
        at = int(rng.integers(len(value)))
        if chance(rng, 0.3):
            return pick(rng, (value[:at], value[at:], value + value, value[::-1], [*value, pick(rng, _VALUES)]))
        return [*value[:at], changed_value(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and chance(rng, 0.5):
        step = pick(rng, (-1, 1, 1000, -value, 0.5))
        return value + (
            step if abs(value) < 2**53 else int(step)
        )  # an integer beyond that may be too large for a float
    return pick(rng, _VALUES)


def _changed_object(rng: np.random.Generator, value: dict) -> dict:
    key = pick(rng, list(value))
    if chance(rng, 0.2):
        return {k: v for k, v in value.items() if k != key}
    if chance(rng, 0.12):
        return {pick(rng, ("", "x", "format", "\u202e", key.upper())) if k == key else k: v for k, v in value.items()}
    return {**value, key: changed_value(rng, value[key])}
