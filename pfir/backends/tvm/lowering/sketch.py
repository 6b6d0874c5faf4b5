"""A walk through a model that makes no kernels: whether all of it can be compiled, and which nodes share a kernel."""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.lowering.form import KernelSpec, plain
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.lower import Lowering, started
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.ir.costs.grouping import Grouping
from pfir.ir.model import Model
from pfir.target import Target


def sketch(model: Model, target: Target) -> Grouping:
    """The kernels that `lower` would make, in seconds for any model.

    Raises:
        CompileError: As in `lower`.
    """
    model, program = started(model, target, None)
    values = {spec.name: program.sketched(plain(tuple(spec.shape), spec.dtype)) for spec in model.inputs()}
    walk = _Walk(program, values)
    walk.graph(model.graph)
    return walk.found()


class _Walk(Lowering):
    """Notes what each group of nodes makes: kernels of its own, copies of tensors into another order, or nothing."""

    def __init__(self, program: Program, values: dict[str, Value]) -> None:
        super().__init__(program, values)
        self._names: dict[Any, str] = {value.var: name for name, value in values.items()}
        self._kernels: list[tuple[str, ...]] = []
        self._free: list[str] = list(program.constants)
        self._inner = 0  # kernels of groups that were part of another one

    def group(self, group: Group) -> None:
        begun, others = self._count(), self._inner
        before = len(self._kernels)
        super().group(group)
        inside = {name for names in self._kernels[before:] for name in names} | set(self._free)
        own = tuple(node.outputs[0].name for node in group.nodes if node.outputs[0].name not in inside)
        if self._count() - begun > self._inner - others:
            self._kernels.append(own)
        else:
            self._free += own
        self._inner = others + self._count() - begun
        for node in group.nodes:
            for tensor in node.outputs:
                if tensor.name in self.values:
                    self._names.setdefault(self.values[tensor.name].var, tensor.name)

    def found(self) -> Grouping:
        copied = (self._names.get(var) for spec, var in self.program.made if _is_copy(spec))
        return Grouping(tuple(self._kernels), frozenset(self._free), tuple(name for name in copied if name))

    def _count(self) -> int:
        return sum(not _is_copy(spec) for spec, _ in self.program.made) + len(self.program.slow)


def _is_copy(spec: KernelSpec) -> bool:
    """Whether a kernel writes a tensor in another order, or of another type, and nothing else."""
    return spec.family == "transpose" or (spec.family == "affine" and dict(spec.attributes).get("kind") == "copy")
