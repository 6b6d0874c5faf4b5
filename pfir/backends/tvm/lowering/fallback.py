"""Operators that no kernel of ours covers, by TVM's own ONNX importer, one node at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.artifact import SLOW_NAME
from pfir.backends.tvm.lowering.anchor import Values, array_of
from pfir.backends.tvm.lowering.form import plain
from pfir.backends.tvm.lowering.fuse import is_float
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.errors import CompileError
from pfir.target import SINGLE

WHAT_TO_DO = "`--backend ort` still delivers the compressed ONNX"


def imported(program: Program, node: gs.Node, value: Values) -> list[Value]:
    """The outputs of a node that TVM's importer lowers, of the types that the model gives them.

    Raises:
        CompileError: It does not; the message names the node, the operator and why.
    """
    from tvm import relax

    forms = [plain(tuple(int(s) for s in t.shape), np.dtype(t.dtype).name) for t in node.outputs]
    inputs = [as_modelled(program, t, value(t)).var for t in _variables(node)]
    module = _legal(node, program.opset)
    program.slow.append(f"{node.name or node.outputs[0].name} ({node.op})")
    if program.builder is None:
        return [program.sketched(form) for form in forms]
    result = program.builder.emit(relax.Call(_transplant(program, module), inputs))
    if len(forms) == 1:
        return [Value(result, forms[0])]
    return [Value(program.builder.emit(relax.TupleGetItem(result, i)), form) for i, form in enumerate(forms)]


def as_modelled(program: Program, tensor: gs.Tensor, value: Value) -> Value:
    """The tensor in ONNX's order and of the type that the model gives it."""
    dtype = SINGLE if is_float(tensor) else value.form.dtype
    return program.laid_out(value, plain(value.form.shape, dtype))


def import_node(node: gs.Node, opset: int) -> Any:
    """The Relax module of a node by itself, its constants inside.

    Raises:
        CompileError: TVM's importer does not take it.
    """
    from tvm.relax.frontend.onnx import from_onnx

    try:
        return from_onnx(_alone(node, opset), keep_params_in_input=False)
    except Exception as error:  # the importer raises whatever its many converters raise
        raise refusal(node, _first_line(error)) from error


def refusal(node: gs.Node, why: str) -> CompileError:
    return CompileError(
        f"node {node.name or node.outputs[0].name} ({node.op}): the tvm backend cannot compile it: {why}; {WHAT_TO_DO}"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]


def _variables(node: gs.Node) -> list[gs.Variable]:
    """The inputs that are computed at run time, each once."""
    found = {t.name: t for t in node.inputs if isinstance(t, gs.Variable) and not t.is_empty()}
    return list(found.values())


def _alone(node: gs.Node, opset: int) -> onnx.ModelProto:
    """A model of this node only."""
    copies = {t.name: gs.Variable(t.name, t.dtype, t.shape) for t in [*_variables(node), *node.outputs]}
    inputs = [
        copies.get(t.name, t) if isinstance(t, gs.Variable) else gs.Constant(t.name, array_of(t)) for t in node.inputs
    ]
    outputs = [copies[t.name] for t in node.outputs if t.name]
    copy = gs.Node(node.op, node.name, dict(node.attrs), inputs, outputs, domain=node.domain)
    graph = gs.Graph([copy], [copies[t.name] for t in _variables(node)], outputs, opset=opset)
    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = 10
    return proto


def _legal(node: gs.Node, opset: int) -> Any:
    import tvm
    from tvm import relax

    module = import_node(node, opset)
    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
    ]
    with tvm.target.Target("llvm"):
        return tvm.transform.Sequential(passes)(module)


def _transplant(program: Program, module: Any) -> Any:
    """The functions of `module` added to the program; the global variable of its main."""
    from tvm import relax, tirx

    places = {
        name: program.builder.add_func(_private(function), f"{SLOW_NAME}{name.name_hint}")
        for name, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }

    @relax.expr_functor.mutator
    class Rename(relax.PyExprMutator):
        def visit_global_var_(self, name: Any) -> Any:
            return places.get(name, name)

    main = Rename().visit_expr(module["main"])
    return program.builder.add_func(_private(main), f"{SLOW_NAME}main")


def _private(function: Any) -> Any:
    return function.without_attr("global_symbol") if "global_symbol" in (function.attrs or {}) else function
