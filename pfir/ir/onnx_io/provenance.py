"""Which passes made a model, kept inside the ONNX file itself."""

from __future__ import annotations

import json

import onnx

from pfir.errors import FrontendError

KEY = "pfir.passes"


def read_provenance(proto: onnx.ModelProto) -> tuple[str, ...]:
    """The texts of the passes that a model went through, oldest first; empty for a model that pfir never wrote.

    Raises:
        FrontendError: The entry is there but is no list of texts.
    """
    text = next((p.value for p in proto.metadata_props if p.key == KEY), None)
    if text is None:
        return ()
    try:
        passes = json.loads(text)
    except (ValueError, RecursionError):
        passes = None
    if not isinstance(passes, list) or not all(isinstance(p, str) for p in passes):
        raise FrontendError(f"metadata {KEY!r} must be a JSON list of texts; remove it or write it anew")
    return tuple(passes)


def write_provenance(proto: onnx.ModelProto, passes: tuple[str, ...]) -> None:
    """Let the model's metadata name these passes, and no others."""
    rest = [p for p in proto.metadata_props if p.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(rest)
    if passes:
        proto.metadata_props.add(key=KEY, value=json.dumps(list(passes), ensure_ascii=False))
