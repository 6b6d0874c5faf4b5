"""Kernels that read tensors under other shapes: they get the tensors themselves, and take the shape on trust.

TVM's virtual machine makes a tensor of its own of each view, which takes about 1,800 instructions on 64-bit Arm: as
many as the call of a kernel. The bytes are the same ones.
"""

from __future__ import annotations

from typing import Any

_TRUSTS = "trusts_shapes"
"""Attribute of functions of TensorIR that get a tensor of another shape than they are written for."""


def read_through_views() -> Any:
    """The pass over Relax that hands kernels tensors in place of views of them.

    It comes behind `CallTIRRewrite`: before it, TVM compares what is handed to a function with the function's shapes.
    """
    import tvm
    from tvm import relax

    @tvm.transform.module_pass(opt_level=0, name="ReadThroughViews")
    def pass_over(module: Any, context: Any) -> Any:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function) and isinstance(function.body, relax.SeqExpr):
                module[name] = _through(module, function)
        return module

    return pass_over


def trust_shapes() -> Any:
    """The pass over TensorIR that drops what marked functions check of their arguments, once that is written out."""
    import tvm
    from tvm import tirx

    @tirx.transform.prim_func_pass(opt_level=0)
    def pass_over(function: Any, module: Any, context: Any) -> Any:
        if not (function.attrs and function.attrs.get(_TRUSTS)):
            return function
        alone = tirx.transform.SkipAssert()(tvm.IRModule({"main": function}))
        return alone["main"]

    return pass_over


def _through(module: Any, function: Any) -> Any:
    """The function, whose kernels read tensors in place of views; in the module these kernels are marked."""
    from tvm import relax

    views: dict[Any, Any] = {}
    blocks = [[_rewritten(module, binding, views) for binding in block.bindings] for block in function.body.blocks]
    needed = _read(function.body.body).union(*(_read(b.value) for bindings in blocks for b in bindings))
    kept = [relax.BindingBlock([b for b in bs if b.var not in views or b.var in needed]) for bs in blocks]
    body = relax.SeqExpr(kept, function.body.body)
    return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)


def _rewritten(module: Any, binding: Any, views: dict[Any, Any]) -> Any:
    """The binding with tensors in place of views where it calls a kernel, or is a view; what is one joins `views`."""
    import tvm
    from tvm import relax, tirx

    value = binding.value
    if not isinstance(value, relax.Call):
        return binding
    if value.op.same_as(tvm.ir.Op.get("relax.reshape")) and isinstance(value.args[0], relax.Var):
        views[binding.var] = views.get(value.args[0], value.args[0])
        return relax.VarBinding(binding.var, _handed(value, views))
    if not isinstance(value.op, tvm.ir.GlobalVar) or not any(argument in views for argument in value.args):
        return binding
    if not isinstance(module[value.op], tirx.PrimFunc):
        return binding
    module[value.op] = module[value.op].with_attr(_TRUSTS, True)
    by_name = relax.Call(relax.ExternFunc(value.op.name_hint), value.args, value.attrs, [value.ty], value.span)
    return relax.VarBinding(binding.var, _handed(by_name, views))


def _handed(call: Any, views: dict[Any, Any]) -> Any:
    from tvm import relax

    arguments = [views.get(argument, argument) for argument in call.args]
    return relax.Call(call.op, arguments, call.attrs, call.ty_args, call.span)


def _read(expression: Any) -> set[Any]:
    """The variables that an expression reads."""
    from tvm import relax

    found: set[Any] = set()
    relax.analysis.post_order_visit(expression, lambda e: found.add(e) if isinstance(e, relax.Var) else None)
    return found
