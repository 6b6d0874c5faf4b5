"""Text in a model is UTF-8, as protobuf demands of it and its readers do not check."""

from __future__ import annotations

from google.protobuf.message import Message
from onnx import ModelProto, TensorProto

from pfir.errors import FrontendError


def check_text(model: ModelProto) -> None:
    """Every name, note and key of a model is text.

    Raises:
        FrontendError: One is not UTF-8; the field is named.
    """
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, TensorProto):
            _check(message, "name", message.name)
            _check(message, "doc_string", message.doc_string)
            waiting.extend(message.external_data)
        else:
            waiting.extend(_parts(message))


def _parts(message: Message) -> list[Message]:
    """The messages within a message, its own text being checked."""
    parts: list[Message] = []
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            parts.extend([value] if isinstance(value, Message) else value)
        elif field.type == field.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                _check(message, field.name, text)
    return parts


def _check(message: Message, field: str, text: str | bytes) -> None:
    if isinstance(text, bytes):
        raise FrontendError(f"the {field} {text[:40]!r} of a {message.DESCRIPTOR.name} is not UTF-8 text")
