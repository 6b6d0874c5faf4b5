"""How kernels of 64-bit Arm reach the columns of an image from the first one, so that no address takes an instruction.

A load has an immediate offset of up to 4095 whole vectors, but none downwards: from the first column that is read, rows
of channels that fill vectors are reached by numbers. In other rows nearly every column would take an instruction of its
own; there it is reached by a register beside that of the row. LLVM sees through constants in registers, so these are
hidden from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from pfir.backends.tvm.lowering.form import Form
from pfir.target import Target

NUMBERS, REGISTERS = "numbers", "registers"


def reached_by(target: Target, channels: int) -> str:
    """How columns of so many channels are reached, as an attribute of a kernel: by `NUMBERS` where they lie whole
    vectors apart, else by `REGISTERS`; empty where LLVM does as well by itself."""
    if not target.arm64:
        return ""
    return REGISTERS if channels % target.lanes else NUMBERS


@dataclass(frozen=True)
class Offsets:
    """The offsets of columns from the first one, in values.

    Args:
        channels: How many values a column has.
        held: Whether each is in a register.
        found: The offsets that were asked for so far, by how many columns they span.
    """

    channels: int
    held: bool = True
    found: dict[int, Any] = field(default_factory=dict)

    def __getitem__(self, columns: Any) -> Any:
        from tvm import tirx

        if not self.held:
            return columns * self.channels
        if not columns:
            return tirx.const(0, "int64")
        if columns not in self.found:
            self.found[columns] = tirx.Var(f"columns{columns}", "int64")
        return self.found[columns]

    def statements(self, more: Iterable[int] = ()) -> list[Any]:
        """The statements that define the offsets found so far, and of `more` columns: once, in front of all uses."""
        from tvm import tirx

        if not self.held:
            return []
        for columns in sorted(more):
            self[columns]

        # A saturating shift by nothing: it gives the number as it is, and LLVM does not work that out.
        one = tirx.Var("column", "int64")
        hidden = tirx.call_llvm_pure_intrin(
            "int64", "llvm.aarch64.neon.uqrshl", tirx.const(self.channels, "int64"), tirx.const(0, "int64")
        )
        return [tirx.Bind(one, hidden), *(tirx.Bind(name, one * columns) for columns, name in self.found.items())]


def flat(buffer: Any, form: Form) -> tuple[Any, Any]:
    """The same memory as a buffer of one axis, and the statement that declares that."""
    from tvm import tirx

    same = tirx.decl_buffer((prod(form.memory),), form.dtype, f"{buffer.name}_flat")
    return tirx.DeclBuffer(same, data=buffer.data), same


def from_value(buffer: Any, index: Any) -> tuple[list[Any], Any]:
    """The part of a buffer of one axis that begins at this value, as a buffer, and the statements that declare it."""
    from tvm import ir, tirx

    name = tirx.Var("row", ir.PointerType(ir.PrimType(buffer.dtype), "global"))
    rest = tirx.decl_buffer(buffer.shape, buffer.dtype, "from")
    return [tirx.Bind(name, tirx.address_of(buffer[index])), tirx.DeclBuffer(rest, data=name)], rest
