"""TVM's pipeline for TensorIR, with the small buffers of a kernel on the stack.

TVM takes every buffer from its workspace pool. LLVM then keeps a tile's accumulators in registers, but has to write
their first values to memory too, since that memory outlives the function.
"""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.library.overlap import written_in_place
from pfir.backends.tvm.library.views import trust_shapes

NAME = "pfir"
MOST_BYTES = 4096


def tir_pipeline() -> str:
    """The name under which the pipeline is registered."""
    from tvm import tirx

    tirx.register_tir_pipeline(NAME, _pipeline)
    return NAME


def _pipeline() -> tuple[Any, Any, Any]:
    import tvm
    from tvm import tirx

    passes, host, device = tirx.get_tir_pipeline("default")

    @tirx.transform.prim_func_pass(opt_level=0)
    def keep_local_buffers_on_the_stack(function: Any, module: Any, context: Any) -> Any:
        function = written_in_place(function)
        return function.with_body(_on_stack(function.body))

    return tvm.transform.Sequential([passes, keep_local_buffers_on_the_stack, trust_shapes()]), host, device


def _on_stack(statement: Any) -> Any:
    """The statement with its small local buffers marked, so that TVM leaves them to LLVM."""
    from tvm import tirx

    if isinstance(statement, tirx.SeqStmt):
        return tirx.SeqStmt([_on_stack(part) for part in statement.seq])
    if isinstance(statement, tirx.AttrStmt):
        return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, _on_stack(statement.body))
    if isinstance(statement, tirx.For):
        return tirx.For(
            statement.loop_var,
            statement.min,
            statement.extent,
            statement.kind,
            _on_stack(statement.body),
            statement.thread_binding,
            statement.annotations,
        )
    if isinstance(statement, tirx.AllocBuffer) and _small(statement.buffer):
        # The pass that would make a call to the workspace pool of it passes over what is marked so.
        return tirx.AllocBuffer(statement.buffer, {"disable_lower_builtin": tirx.IntImm("bool", 1)})
    return statement


def _small(buffer: Any) -> bool:
    import tvm

    size = 1
    for extent in buffer.shape:
        size *= int(extent)
    return buffer.scope() == "local" and size * tvm.DataType(buffer.dtype).itemsize <= MOST_BYTES
