"""What GraphSurgeon drops: the protobuf fields it has no place for, kept on the object they came with.

The metadata of an object is an onnx message of the kind that the object came from (NodeProto for a node,
ValueInfoProto for a variable, GraphProto for a graph) which holds only those left-over fields. It lives on the object
itself, so it follows the node or tensor through renames and rewiring, and goes when the object goes. Metadata is never
written into: clones share it.
"""

from __future__ import annotations

from typing import Any

_SHELL = "onnx_shell"
_ORIGIN = "came_as"


def keep(owner: Any, metadata: Any) -> None:
    """Hang metadata on a GraphSurgeon object; an empty message is not kept."""
    if metadata is not None and metadata.ByteSize():
        owner.__dict__[_SHELL] = metadata


def metadata_of(owner: Any) -> Any | None:
    """The metadata of a GraphSurgeon object; None where everything it came with is in the object itself."""
    return owner.__dict__.get(_SHELL)


def share(source: Any, target: Any) -> None:
    """Let a copy have the metadata of its original, and its origin."""
    for key in (_SHELL, _ORIGIN):
        if key in source.__dict__:
            target.__dict__[key] = source.__dict__[key]


def note_origin(owner: Any, name: str) -> None:
    """Remember by which name a constant came that is one of several now; the first such name stays."""
    owner.__dict__.setdefault(_ORIGIN, name)


def origin_of(owner: Any) -> str | None:
    """The name by which a constant came that was shared where it came from; None for any other."""
    return owner.__dict__.get(_ORIGIN)
