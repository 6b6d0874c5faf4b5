"""Kernels whose fences hold for what they read: LLVM must not take it that no two of their arguments overlap.

Where LLVM knows that, no fence can change what an argument holds. It then loads weights ahead of the loops that stand
between fences, or those of two rounds together, and has to put registers on the stack.
"""

from __future__ import annotations

from typing import Any

_APART = "tirx.noalias"


def written_in_place(function: Any) -> Any:
    """The function that TVM calls; one whose arguments may overlap has its kernel written out in it.

    Of a kernel in a function of its own TVM always says that arguments are apart, but where the last kernel of the
    module says they are not: then it says so of none. All leave here with the same attribute, so that the code of a
    kernel does not depend on what else a module holds.
    """
    if function.attrs.get(_APART, True):
        return function
    return function.with_attr(_APART, True).with_body(_in_place(function.body))


def _in_place(statement: Any) -> Any:
    """The statement without what makes a function of the kernel in it."""
    from tvm import tirx

    if isinstance(statement, tirx.SeqStmt):
        return tirx.SeqStmt([_in_place(part) for part in statement.seq])
    if isinstance(statement, tirx.AttrStmt):
        if statement.attr_key == "compute_scope":
            return statement.body
        return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, _in_place(statement.body))
    return statement
