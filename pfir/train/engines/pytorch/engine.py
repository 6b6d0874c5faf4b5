"""PyTorch as an engine: gradients by autograd, weights and gradients in the trainer's flat buffers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from pfir.ir.training import TrainingGraph
from pfir.system.memory import keep_freed
from pfir.train.engines.base import BFLOAT16, NO_AUTOCAST, Arrays, Shard
from pfir.train.engines.pytorch.compiled import CompiledStep, Tensors, compiled_step, why_not
from pfir.train.engines.pytorch.graph import Calls, calls_of
from pfir.train.flat import FlatBuffer


class TorchEngine:
    """See Engine.

    On a GPU a batch runs whole, with TF32 products; on a CPU in shards side by side, images with their channels last.
    """

    name = "torch"

    def __init__(self) -> None:
        self._device = _device()
        self.cuts = self._device.type == "cpu"
        if self.cuts:
            keep_freed()

    def build(self, graph: TrainingGraph, autocast: str = NO_AUTOCAST) -> TorchProgram:
        """See Engine."""
        return TorchProgram(calls_of(graph), self._device, autocast)

    def why_not_compiled(self) -> str | None:
        """See Engine."""
        return why_not(self._device)

    def prepare_thread(self, threads: int) -> None:
        """PyTorch's own threads inside an operator; and that a GPU may use TF32, and gives the same bits again."""
        torch.set_num_threads(threads)
        if not self.cuts:
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.deterministic = True


def _device() -> torch.device:
    """The CPU, or the GPU of this process: torchrun numbers those of a machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


class TorchProgram:
    """See Program."""

    def __init__(self, calls: Calls, device: torch.device, autocast: str = NO_AUTOCAST) -> None:
        self.parameters: Arrays = calls.parameters
        self.statistics: Arrays = calls.statistics
        self.scalars = calls.scalars
        self._calls, self._device, self._autocast = calls, device, autocast
        self._constants = {name: _placed(x, device) for name, x in calls.constants.items()}

    def shard(self, parameters: FlatBuffer) -> _Shard:
        """See Program."""
        return _Shard(self._calls, self._constants, parameters, self._device, self._autocast)

    def compile(self, shards: Sequence[Shard], feeds: Arrays) -> None:
        """See Program: shards have the same sizes, and share what is compiled of the first one."""
        own = _own(shards)
        step = own[0].compiled(feeds)
        for shard in own:
            shard.step = step

    def uncompile(self, shards: Sequence[Shard]) -> None:
        """See Program."""
        for shard in _own(shards):
            shard.step = None


class _Shard:
    """One shard: its buffers stay on the CPU, and have a mirror each on the device."""

    def __init__(
        self,
        calls: Calls,
        constants: dict[str, Tensor],
        parameters: FlatBuffer,
        device: torch.device,
        autocast: str,
    ) -> None:
        self._calls, self._constants, self._device, self._autocast = calls, constants, device, autocast
        self.gradients, self.statistics = FlatBuffer(calls.parameters), FlatBuffer(calls.statistics)
        self.scalars = np.zeros(len(calls.scalars), np.float32)
        self._parameters = _Mirror(parameters, device)
        self._gradients, self._statistics = _Mirror(self.gradients, device), _Mirror(self.statistics, device)
        self._leaves = {name: view.requires_grad_() for name, view in self._parameters.views.items()}
        self.step: CompiledStep | None = None

    def run(self, feeds: Arrays) -> None:
        """See Shard."""
        self._parameters.load()
        self._statistics.load()
        scalars, found = self.differentiated({name: torch.from_numpy(x) for name, x in feeds.items()})
        for view, gradient in zip(self._gradients.views.values(), found, strict=True):
            view.zero_() if gradient is None else view.copy_(gradient)
        self._gradients.store()
        self._statistics.store()
        self.scalars[:] = torch.stack([s.detach().float().reshape(()) for s in scalars]).cpu().numpy()

    def differentiated(self, feeds: Tensors) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
        """The scalars, and the gradient of the first one by each parameter, None where it has no say; on the device."""
        step = self._eager if self.step is None else self.step
        return step(self._given(feeds), self._leaves, self._statistics.views)

    def compiled(self, feeds: Arrays) -> CompiledStep:
        """Its step, compiled for feeds of these shapes.

        Raises:
            TrainingError: It cannot be compiled.
        """
        self._parameters.load()
        self._statistics.load()
        given = self._given({name: torch.from_numpy(x) for name, x in feeds.items()})
        return compiled_step(self._eager, given, self._leaves, self._statistics.views)

    def _given(self, feeds: Tensors) -> dict[str, Tensor]:
        return {name: _laid_out(x.to(self._device, non_blocking=True)) for name, x in feeds.items()}

    def _eager(
        self, feeds: Tensors, leaves: Tensors, statistics: Tensors
    ) -> tuple[list[Tensor], Sequence[Tensor | None]]:
        """Operator by operator; the statistics are moved in place."""
        rounded = self._autocast == BFLOAT16
        with torch.autocast(self._device.type, torch.bfloat16) if rounded else nullcontext():
            scalars = self._calls.run({**self._constants, **leaves, **statistics, **feeds})
        return scalars, torch.autograd.grad(scalars[0], list(leaves.values()), allow_unused=True)


def _own(shards: Sequence[Shard]) -> list[_Shard]:
    return [shard for shard in shards if isinstance(shard, _Shard)]


class _Mirror:
    """A flat buffer as a tensor on a device, and a view of that per name; on the CPU both are the same memory."""

    def __init__(self, buffer: FlatBuffer, device: torch.device) -> None:
        self._home = torch.from_numpy(buffer.flat)
        self._flat = self._home.to(device)
        self.views = {name: self._view(view, buffer) for name, view in buffer.views.items()}

    def load(self) -> None:
        """From the CPU to the device."""
        if self._flat is not self._home:
            self._flat.copy_(self._home)

    def store(self) -> None:
        """From the device to the CPU."""
        if self._flat is not self._home:
            self._home.copy_(self._flat)

    def _view(self, view: np.ndarray, buffer: FlatBuffer) -> Tensor:
        start = (view.ctypes.data - buffer.flat.ctypes.data) // buffer.flat.itemsize
        return self._flat[start : start + view.size].view(view.shape)


def _placed(x: np.ndarray, device: torch.device) -> Tensor:
    """A constant as a tensor: numbers alone and integers stay on the CPU, where sizes, axes and bounds are read."""
    tensor = torch.from_numpy(np.array(x, order="C"))
    return _laid_out(tensor.to(device)) if tensor.is_floating_point() and tensor.dim() else tensor


def _laid_out(x: Tensor) -> Tensor:
    """Images with their channels last: PyTorch's CPU kernels are faster so, and every operator keeps it."""
    images = x.dim() == 4 and x.is_floating_point()
    return x.contiguous(memory_format=torch.channels_last) if images else x
