"""Which operators and versions may occur: ONNX's, those of ONNX Runtime, and the model's own functions."""

from __future__ import annotations

from functools import cache

import onnx
from onnx import FunctionProto, ModelProto, NodeProto

from pfir.errors import FrontendError
from pfir.frontends.onnx.contrib import missing_input
from pfir.ir.onnx_io import walk
from pfir.ir.onnx_io.walk import Body

# Operators of ONNX Runtime: its schemas are not onnx's, so their names are not checked here.
_RUNTIME = ("com.microsoft", "com.ms.internal.nhwc", "org.pytorch.aten")
_STANDARD = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training")
# Experimental operators that ONNX gave up; onnx.checker and ONNX Runtime still take them.
_GIVEN_UP = frozenset(
    (
        "ATen",
        "Affine",
        "ConstantFill",
        "Crop",
        "DynamicSlice",
        "GRUUnit",
        "GivenTensorFill",
        "ImageScaler",
        "ParametricSoftplus",
        "Scale",
        "ScaledTanh",
    )
)


def check_versions(model: ModelProto) -> None:
    """The IR version and the opsets are ones that the installed onnx knows.

    Raises:
        FrontendError: One is unknown, or there is none.
    """
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        known = f"onnx {onnx.__version__} has 3 to {onnx.IR_VERSION}"
        raise FrontendError(f"IR version {model.ir_version} is unknown; {known}")
    for domain, version in _imports(model).items():
        newest = _newest(domain)
        if newest is not None and not 1 <= version <= newest:
            shown = domain or "ai.onnx"
            raise FrontendError(f"opset {version} of {shown!r} is unknown; onnx {onnx.__version__} has 1 to {newest}")


def _imports(model: ModelProto) -> dict[str, int]:
    imports: dict[str, int] = {}
    for each in model.opset_import:
        domain = _plain(each.domain)
        if imports.setdefault(domain, each.version) != each.version:
            raise FrontendError(f"the domain {each.domain or 'ai.onnx'!r} is imported in two versions")
    if not imports:
        raise FrontendError("the model imports no opset; it must say which version of the operators it means")
    return imports


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


@cache
def _newest(domain: str) -> int | None:
    """The newest version that onnx has of its own domains; None for others."""
    if domain == "":
        return onnx.defs.onnx_opset_version()
    versions = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain]
    return max(versions, default=None)


def check_operators(model: ModelProto) -> None:
    """Every operator is ONNX's, ONNX Runtime's, or one of the model's functions.

    Raises:
        FrontendError: One is not; operator, domain and node are named.
    """
    for node in walk.nodes_within(model.graph):
        if reference := next((a.ref_attr_name for a in node.attribute if a.ref_attr_name), None):
            name = f"{node.op_type} {node.name!r}"
            raise FrontendError(f"{name} takes attribute {reference!r} of a function, but is in none")
    functions = {(_plain(f.domain), f.name): f for f in model.functions}
    for body in (model.graph, *model.functions):
        imports = {_plain(o.domain): o.version for o in (getattr(body, "opset_import", None) or model.opset_import)}
        _check_nodes(body, imports, functions)


def _check_nodes(body: Body, imports: dict[str, int], functions: dict[tuple[str, str], FunctionProto]) -> None:
    for node in walk.nodes_within(body):
        domain = _plain(node.domain)
        function = functions.get((domain, node.op_type))
        if function is not None:
            _check_call(node, function)
        elif not _known(node.op_type, domain, imports):
            raise FrontendError(_unknown(node, imports.get(domain)))
        elif domain in _RUNTIME and (place := missing_input(node)) is not None:
            raise FrontendError(f"{node.op_type} {node.name!r} lacks input {place}")


def _check_call(node: NodeProto, function: FunctionProto) -> None:
    for what, given, known in (("inputs", node.input, function.input), ("outputs", node.output, function.output)):
        if len(given) > len(known):
            raise FrontendError(
                f"{node.op_type} {node.name!r} has {len(given)} {what}; the function of this name in the model has "
                f"{len(known)}"
            )


def _known(op: str, domain: str, imports: dict[str, int]) -> bool:
    if domain in _RUNTIME or domain.startswith("com.microsoft."):
        return True
    if domain not in _STANDARD:
        return False
    return _has_schema(op, imports.get(domain, 1), domain) or (not domain and op in _GIVEN_UP)


@cache
def _has_schema(op: str, version: int, domain: str) -> bool:
    try:
        onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return False
    return True


def _unknown(node: NodeProto, version: int | None) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    where = f"node {node.name!r}" if node.name else f"the node that makes {list(node.output)[:1]!r}"
    opset = f" in opset {version}" if version is not None and _plain(node.domain) in _STANDARD else ""
    return (
        f"operator {operator!r} ({where}) is unknown{opset}: neither ONNX's nor com.microsoft's, "
        "nor a function in the model"
    )
