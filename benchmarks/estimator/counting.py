"""Kernels built one by one and counted by class of instruction under the emulator, beside what pfir says of them.

    with counting() as count:
        for kernel in single_kernels(model, parse_target("arm")):
            print(kernel.name, count(kernel.build()))

A kernel stands as in its network: inputs and result lie in memory as there. What a call of a library takes that
computes nearly nothing, of as many inputs of as many axes, is subtracted; so is a view, where the kernel ends in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pfir.artifact import Artifact
from pfir.backends.tvm.lowering.form import plain
from pfir.backends.tvm.lowering.lower import Lowering, grouped, started
from pfir.backends.tvm.tuning.tunable import GroupKernel, tensors_read
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.instructions import Instructions
from pfir.ir.costs.tails import tail_of
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.target import FLOAT32, Target, with_arithmetic
from pfir.workload import Tail, Workload
from tests.support.net import Net

Count = Callable[..., Instructions]


@dataclass(frozen=True)
class SingleKernel(GroupKernel):
    """One group of nodes, with how what it reads lies in memory; its workload is None where nothing is to choose."""

    workload: Workload | None

    @property
    def name(self) -> str:
        return str(self.workload) if self.workload else f"{self.group.head.op} {self.group.output.shape}"

    @property
    def view(self) -> bool:
        """Whether its result is seen in another shape, which is a call of its own."""
        return self.group.head.op == "Reshape"

    @property
    def tail(self) -> Tail:
        """What its nodes but the first ask for; that integers stand for floats asks for nothing."""
        *nodes, last = self.group.nodes
        return tail_of(nodes if nodes and last.op == "DequantizeLinear" else self.group.nodes)


def single_kernels(model: Model, target: Target) -> list[SingleKernel]:
    """The groups of a model that are computed by kernels, in order."""
    model, program = started(model, target, None)
    values = {spec.name: program.sketched(plain(tuple(spec.shape), spec.dtype)) for spec in model.inputs()}
    lowering, found = Lowering(program, values), []
    for group in grouped(model.graph):
        read = [tensor for tensor in tensors_read(group) if tensor.name in lowering.values]
        forms = {tensor.name: lowering.numbers(tensor).form for tensor in read}
        before = len(program.works)
        lowering.group(group)
        works = program.works[before:]
        shared = model.graph.opset, target, program.constants
        found.append(SingleKernel(works[0] if works else None, group, forms, *shared, 1))
    return found


@contextmanager
def counting(progress: Callable[[str], None] = print) -> Iterator[Count]:
    """What counts the instructions of one call of a library, less those of a call that computes nearly nothing."""
    with EmulatedDevice(progress=progress) as device:
        calls: dict[tuple[str, tuple[int, ...], bool], Instructions] = {}

        def raw(artifact: Artifact) -> Instructions:
            random = np.random.default_rng(0)
            feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in artifact.inputs}
            return device.instructions_by_class(artifact, feeds)

        def count(artifact: Artifact, view: bool = False) -> Instructions:
            ranks = tuple(len(spec.shape) for spec in artifact.inputs)
            kind = artifact.target.name, ranks, view
            if kind not in calls:
                # In float16 it would be two kernels, as its result is float32.
                *_, nothing = single_kernels(_nothing(ranks, view), with_arithmetic(artifact.target, FLOAT32))
                calls[kind] = raw(nothing.build())
            return raw(artifact) + calls[kind] * -1

        yield count


def _nothing(ranks: tuple[int, ...], view: bool) -> Model:
    """Of four values of each input; or the copy of four channels into ONNX's order, and the view of it."""
    net = Net(0)
    if view:
        channels_last = net.op("MaxPool", net.input(1, 4, 1, 2), kernel_shape=[1, 1])
        return fix_sizes(net.model((net.op("Reshape", channels_last, net.ints(1, 4, 2)),)))
    return fix_sizes(net.model((net.op("Sum", *(net.input(*[1] * (rank - 1), 4) for rank in ranks)),)))
