"""The TVM backend behind the contract that every backend keeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pfir.artifact import SLOW_KERNELS, Artifact, Tuning
from pfir.backends.base import Backend, Tunable, TuningRecords
from pfir.backends.tvm.counts.kernel import INFERENCE, KernelCounts
from pfir.backends.tvm.library import store
from pfir.backends.tvm.library.build import build_compact
from pfir.backends.tvm.library.compact.choice import READ, SMALLEST, Price
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.lowering.sketch import sketch
from pfir.backends.tvm.tuning.database import SHIPPED_NAME, databases, known, read
from pfir.backends.tvm.tuning.records import CoreRecords
from pfir.backends.tvm.tuning.tunable import tunables, tuning
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.devices.emulation.emulated import emulates
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.grouping import Groups
from pfir.ir.model import Model
from pfir.target import FLOAT16, FLOAT32, Target, parse_target

LIBRARY = "model.so"


class TvmBackend(Backend):
    """ONNX to a shared library of our own kernels, for x86-64, aarch64 and armv7 Linux.

    Args:
        tuned: A database of measured kernels to build by instead of the user's own; `none` is neither that nor what
            ships.
        note: Told what a user should know of a build, a line each; None tells nobody.
        smallest: Make libraries as small as can be, however long they take to load.

    Raises:
        UsageError: It is no such database.
    """

    name = "tvm"
    library = LIBRARY
    arithmetics = (FLOAT32, FLOAT16)
    tunes = True
    is_onnxruntime = False

    def __init__(
        self, tuned: str | Path | None = None, note: Callable[[str], None] | None = None, smallest: bool = False
    ) -> None:
        self._tuned, self._note, self._byte_s = tuned, note, SMALLEST if smallest else READ
        for _, path in databases(tuned):
            read(path)

    def check(self, model: Model) -> None:
        sketch(model, parse_target("arm"))

    def grouping(self, target: Target) -> Groups:
        return partial(sketch, target=target)

    def estimator(self, target: Target) -> EstimateDevice:
        count = KernelCounts(known(target, self._tuned))
        return EstimateDevice(target, count, INFERENCE, count.more_weights)

    def device(self, url: str | None, target: Target) -> Device:
        return self.estimator(target) if url is None else open_device(url, target)

    @classmethod
    def emulates(cls, target: Target) -> bool:
        return emulates(target)

    def tunables(self, model: Model, target: Target) -> tuple[Tunable, ...]:
        return tunables(model, target)

    def tuning(self, model: Model, target: Target) -> Tuning:
        return tuning(model, target, known(target, self._tuned))

    def tuning_files(self) -> tuple[Path, ...]:
        return tuple(path for name, path in databases(self._tuned) if name != SHIPPED_NAME)

    def tuning_records(self, target: Target, path: Path | None = None) -> TuningRecords:
        return CoreRecords(target, path)

    def build(self, model: Model, target: Target) -> Artifact:
        built = self._built(model, target)
        notes = {
            "tvm": version("apache-tvm"),
            "llvm_target": f"{target.triple} {target.cpu}".strip(),
            "arithmetic": target.computes,
        }
        if built.slow:
            notes[SLOW_KERNELS] = ", ".join(built.slow)
        kernels, ends = self.kernels(model, target), (model.inputs(), model.outputs())
        files = {LIBRARY: built.library}
        return Artifact(self.name, target, files, LIBRARY, *ends, kernels, notes, constants=built.constants)

    def _built(self, model: Model, target: Target) -> store.Built:
        """The library, from the cache where it was built before."""
        measured = known(target, self._tuned)
        name = store.key(model, target, str(measured), self._byte_s)
        built = store.find(name, self._note)
        if built is None:
            program = written(model, target, measured)
            made = build_compact(program.builder.get(), program.transformed, Price(target, self._byte_s))
            built = store.Built(*made, tuple(program.slow))
            store.keep(name, built)
        return built
