"""A Relax module of kernels to the bytes of a shared library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, wraps
from typing import Any

import numpy as np

from pfir.artifact import LinkedConstants
from pfir.backends.tvm.library.compact.choice import PLAIN, Price
from pfir.backends.tvm.library.compact.compacted import Constants, compacted
from pfir.backends.tvm.library.link import linker
from pfir.backends.tvm.library.stack import tir_pipeline
from pfir.backends.tvm.library.views import read_through_views
from pfir.backends.tvm.lowering.values import Transformed
from pfir.backends.tvm.schedule.tiles import by_lane, scheduled_ahead
from pfir.errors import CompileError
from pfir.system.scratch import scratch_folder
from pfir.target import Target

NATIVE = ("native", "host")
# Of the features of 64-bit Arm cores those that kernels can use, by LLVM's names.
_USABLE = ("fullfp16", "dotprod", "i8mm")

# Constants go into an object file, into a file in compact form, and into the library; the code takes 1 to 5 MB.
_CODE_BYTES, _COPIES = 16 << 20, 3


def build(module: Any, target: Target) -> bytes:
    """The library, linked for the target, its constants as kernels read them.

    Raises:
        CompileError, UsageError: As in `build_compact`.
    """
    return build_compact(module, (), Price(target, PLAIN))[0]


def build_compact(module: Any, transformed: Sequence[Transformed], price: Price) -> tuple[bytes, LinkedConstants]:
    """The library, linked for the target of the price, and how it holds its constants.

    Args:
        transformed: Constants of the module that were computed of smaller ones.
        price: What decides in which form each constant is linked.

    Raises:
        CompileError: TVM or the linker refuses.
        UsageError: There is too little space for temporary files.
    """
    from tvm import relax

    target = price.target
    try:
        executable = relax.build(module, tvm_target(target), relax_pipeline=pipeline(), tir_pipeline=tir_pipeline())
        return _library(executable, Constants(_constants(module), transformed), price)
    except RuntimeError as error:  # what TVM's own errors derive from
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise CompileError(f"TVM failed to compile for {target.name}: {lines[-1] if lines else error!r}") from error


def tvm_target(target: Target) -> Any:
    """TVM's own target: LLVM for the triple, CPU and features.

    For Arm it is the generic CPU, with the features of the one that is meant: by its schedules of single cores LLVM
    loads so far ahead that registers spill (docs/decisions/0010-one-schedule-for-arm.md).
    """
    import tvm

    settings: dict[str, Any] = {"kind": "llvm", "mtriple": target.triple, "num-cores": target.threads}
    cpu = system_cpu() if target.cpu in NATIVE else target.cpu
    features, named = list(target.features), cpu not in ("", "generic")
    if named and (scheduled_ahead(target) or not by_lane(target)):
        settings["mcpu"] = cpu
    elif named and target.arm64:
        features += [f"+{name}" for name in _USABLE if name in _features(target.triple, cpu)]
    if features:
        settings["mattr"] = features
    if target.triple.endswith("hf"):
        settings["mfloat-abi"] = "hard"  # TVM would pass floats to the C library in general registers
    return tvm.target.Target(settings)


@cache
def _features(triple: str, cpu: str) -> frozenset[str]:
    """What LLVM says that the CPU has, by its names."""
    import tvm
    from tvm.target.codegen import llvm_get_cpu_features

    known = llvm_get_cpu_features(tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu}))
    return frozenset(map(str, known))


def system_cpu() -> str:
    """LLVM's name for this machine's CPU."""
    from tvm.target.codegen import llvm_get_system_cpu

    return str(llvm_get_system_cpu())


def pipeline() -> Any:
    import tvm
    from tvm.relax import transform

    return tvm.transform.Sequential(
        [
            transform.RewriteDataflowReshape(),
            transform.ToNonDataflow(),
            transform.RemovePurityChecking(),
            transform.CallTIRRewrite(),
            read_through_views(),
            transform.StaticPlanBlockMemory(),
            transform.LowerAllocTensor(),
            transform.KillAfterLastUse(),
            transform.LowerRuntimeBuiltin(),
            transform.ComputePrimValue(),
            transform.VMShapeLower(),
            transform.AttachGlobalSymbol(),
        ]
    )


def _constants(module: Any) -> list[np.ndarray]:
    """The values of all constants in the functions of a module."""
    import tvm
    from tvm import relax

    found: list[np.ndarray] = []

    def visit(expression: Any) -> None:
        value = getattr(expression, "value", None) if isinstance(expression, tvm.ir.GenericConst) else None
        if isinstance(value, tvm.runtime.Tensor):
            found.append(value.numpy())

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return found


def _library(executable: Any, constants: Constants, price: Price) -> tuple[bytes, LinkedConstants]:
    link, found = linker(price.target.triple), []
    # LLVM ends the process where it cannot write an object file.
    with scratch_folder(_CODE_BYTES + _COPIES * sum(array.nbytes for array in constants.arrays)) as folder:
        path = folder / "model.so"

        @wraps(link)
        def compactly(output: str, objects: list[str], *options: Any, **_: Any) -> None:
            files, linked = compacted(objects, constants, price, folder)
            found.append(linked)
            link(output, files, *options)

        executable.export_library(str(path), fcompile=compactly, workspace_dir=str(folder))
        return path.read_bytes(), found[0]
