"""States as bytes, for a network or a file: arrays and JSON, never pickles."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from pfir.train.checkpoint import State

_FACTS = "facts"


def packed_state(state: State | None) -> bytes:
    """The state as bytes; none for None."""
    if state is None:
        return b""
    facts = np.frombuffer(json.dumps(state.facts).encode(), np.uint8)
    arrays: dict[str, Any] = {f"array/{name}": x for name, x in state.arrays.items()}
    arrays[_FACTS] = facts
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def state_of(content: bytes) -> State | None:
    """What `packed_state` was given."""
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        facts = json.loads(found[_FACTS].tobytes())
        return State({n.removeprefix("array/"): found[n] for n in found.files if n != _FACTS}, facts)
