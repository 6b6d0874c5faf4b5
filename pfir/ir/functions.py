"""Local functions, which no pass looks into, replaced by what they stand for."""

from __future__ import annotations

from onnx import inliner

from pfir.ir.model import Model


def inline_functions(model: Model) -> Model:
    """The model without local functions: each call has become the nodes of its body.

    A model that has none is returned as it is. Provenance and interface stay; the original bytes do not stand for the
    result.
    """
    if model.header is None or not model.header.functions:
        return model
    proto = model.to_proto()
    plain = Model.from_proto(inliner.inline_local_functions(proto), model.name)
    plain.consistent = model.consistent
    return plain
