"""The records of all operators, to be asked by node or by name."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pfir.ir.edit import STANDARD_DOMAINS
from pfir.ir.operators.floats import FLOATS
from pfir.ir.operators.quantized import QUANTIZED
from pfir.ir.operators.records import ONNX, Form, Operator
from pfir.ir.operators.recurrent import RECURRENT

OPERATORS: tuple[Operator, ...] = (*FLOATS, *RECURRENT, *QUANTIZED)
_BY_NAME = {(domain, operator.name): operator for operator in OPERATORS for domain in operator.domains}


def operator_named(name: str, domain: str | None = ONNX) -> Operator | None:
    """The record of an operator; None where none is kept."""
    return _BY_NAME.get((ONNX if domain in STANDARD_DOMAINS else domain, name))


def operator_of(node: gs.Node) -> Operator | None:
    """The record of a node's operator; None where none is kept."""
    return operator_named(node.op, node.domain)


def has_form(node: gs.Node, *forms: Form) -> bool:
    """Whether a node computes one of these."""
    operator = operator_of(node)
    return operator is not None and operator.form in forms
