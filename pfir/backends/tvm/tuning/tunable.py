"""The kernels of a model that can be scheduled in several ways, each to be built alone and measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pfir.artifact import Artifact, Database, TensorSpec, Tuning
from pfir.backends.base import Tunable
from pfir.backends.tvm.families import candidates
from pfir.backends.tvm.library.build import build
from pfir.backends.tvm.lowering.form import Form, plain
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.lower import Lowering, grouped, started
from pfir.backends.tvm.lowering.quantized.constants import QuantizedConstant
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.tuning.database import NOTHING, Entry, Known, core_name, digest
from pfir.ir.model import Model
from pfir.target import Target
from pfir.workload import Workload

LIBRARY = "kernel.so"


def tunables(model: Model, target: Target) -> tuple[Tunable, ...]:
    """Each distinct kernel of the model once, in order of execution.

    Raises:
        CompileError: The model cannot be compiled.
    """
    found = group_kernels(model, target)
    return tuple(
        Tunable(
            name, tuple(map(str, candidates(target, kernel.workload))), kernel.build, kernel.calls, kernel.workload.macs
        )
        for name, kernel in found.items()
    )


def tuning(model: Model, target: Target, known: Known) -> Tuning:
    """Which of its kernels are computed as is known to be the fastest.

    Raises:
        CompileError: The model cannot be compiled.
    """
    works = {name: kernel.workload for name, kernel in group_kernels(model, target).items()}
    found = {name: known.schedule(target, workload) for name, workload in works.items()}
    taken = {name: str(schedule) for name, schedule in found.items() if schedule is not None}
    counts = Counter(known.sources[name] for name in taken)
    databases = tuple(Database(*source, count) for source, count in counts.items())
    return Tuning(
        core_name(target), len(works), databases, digest([f"{name}: {schedule}" for name, schedule in taken.items()])
    )


def group_kernels(model: Model, target: Target) -> dict[str, GroupKernel]:
    """The kernels with a choice of schedules, by the text of their work.

    Raises:
        CompileError: The model cannot be compiled.
    """
    model, program = started(model, target, None)
    values = {spec.name: program.sketched(plain(tuple(spec.shape), spec.dtype)) for spec in model.inputs()}
    lowering, calls = Lowering(program, values), Counter()
    found: dict[str, tuple[Workload, Group, dict[str, Form]]] = {}
    for group in grouped(model.graph):
        forms = {tensor.name: lowering.numbers(tensor).form for tensor in tensors_read(group)}
        before = len(program.works)
        lowering.group(group)
        for workload in program.works[before:]:
            calls[str(workload)] += 1
            found.setdefault(str(workload), (workload, group, forms))
    shared = model.graph.opset, target, program.constants
    return {name: GroupKernel(*parts, *shared, calls[name]) for name, parts in found.items()}


def tensors_read(group: Group) -> list[gs.Variable]:
    """The tensors that a group reads and does not make."""
    made = {tensor.name for node in group.nodes for tensor in node.outputs}
    read = {tensor.name: tensor for node in group.nodes for tensor in node.inputs if isinstance(tensor, gs.Variable)}
    return [tensor for name, tensor in read.items() if name not in made and not tensor.is_empty()]


@dataclass(frozen=True)
class GroupKernel:
    """One group of nodes, with how what it reads lies in memory, and how often such a kernel is called."""

    workload: Workload
    group: Group
    forms: Mapping[str, Form]
    opset: int
    target: Target
    constants: Mapping[str, QuantizedConstant]
    calls: int

    def build(self, schedule: str | None = None) -> Artifact:
        """The kernel alone as a library, by this schedule or else by the one of the model of the core.

        Raises:
            CompileError: TVM or the linker refuses.
        """
        from tvm import relax

        known = Known({str(self.workload): Entry(schedule)}) if schedule else NOTHING
        program = Program(self.target, relax.BlockBuilder(), self.opset, known, self.constants)
        variables = {
            name: relax.Var(f"input_{i}", relax.TensorType(form.memory, form.dtype))
            for i, (name, form) in enumerate(self.forms.items())
        }
        values = {name: Value(variables[name], form) for name, form in self.forms.items()}
        lowering = Lowering(program, values)
        with program.builder.function("main", list(variables.values())):
            with program.builder.dataflow():
                lowering.group(self.group)
                results = {tensor.name: lowering.values[tensor.name] for tensor in self.group.nodes[-1].outputs}
                output = program.builder.emit_output(relax.Tuple([result.var for result in results.values()]))
            program.builder.emit_func_output(output)
        library = build(program.builder.get(), self.target)
        inputs = tuple(TensorSpec(name, form.dtype, form.memory) for name, form in self.forms.items())
        outputs = tuple(TensorSpec(name, made.form.dtype, made.form.memory) for name, made in results.items())
        return Artifact("tvm", self.target, {LIBRARY: library}, LIBRARY, inputs, outputs)
