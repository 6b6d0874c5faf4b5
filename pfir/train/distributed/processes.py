"""In how many processes a user wants to train, and how these exchange gradients."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pfir.errors import UsageError
from pfir.train.distributed.compression.choice import NONE, check_compression
from pfir.train.engines.choice import INSTALL


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Args:
        count: On this machine, >= 1.
        compress: How gradients travel, one of `compression.choice.COMPRESSIONS`.
        torchrun: Further options of torchrun, as for several machines.
        folder: For the files that they read and write; None for a temporary one.

    Raises:
        UsageError: A value is out of range, says nothing with one process, or needs PyTorch where it is missing.
    """

    count: int = 1
    compress: str = NONE
    torchrun: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_compression(self.compress)
        if self.count < 1:
            raise UsageError(f"--nproc is {self.count}; it must be at least 1")
        if self.compress != NONE and not self.several:
            raise UsageError(f"--compress-gradients {self.compress} goes with --nproc 2 or more")
        if self.several and find_spec("torch") is None:
            option = f"--nproc {self.count}" if self.count > 1 else "--torchrun"
            raise UsageError(f"{option} needs PyTorch, which is not installed; {INSTALL}")

    @property
    def several(self) -> bool:
        """Whether torchrun starts the training."""
        return self.count > 1 or bool(self.torchrun)

    @property
    def exchanged(self) -> str:
        """How gradients travel; `none` where one process has all of them."""
        return self.compress if self.several else NONE


ONE = Processes()
