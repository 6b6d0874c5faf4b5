"""A training in a folder: all that a process needs to take part in it, and where it leaves what it finds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import onnx

from pfir.data.base import Dataset
from pfir.data.reopening import hand_over, reopened
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.train.feeding.mixing import Mixing
from pfir.train.settings import Settings

_MODELS = ("model", "teacher")


@dataclass(frozen=True)
class Places:
    """The files of a job that processes write while it runs."""

    folder: Path

    @property
    def job(self) -> Path:
        """What the job is, but for networks and data; it marks the folder as one of a job."""
        return self.folder / "job.json"

    @property
    def progress(self) -> Path:
        """One JSON line after another, from the first worker."""
        return self.folder / "progress.jsonl"

    @property
    def question(self) -> Path:
        """Arrays of which the first worker wants a score."""
        return self.folder / "question.npz"

    @property
    def answer(self) -> Path:
        """That score."""
        return self.folder / "answer.json"

    @property
    def result(self) -> Path:
        """What the training learnt."""
        return self.folder / "result.npz"

    @property
    def failure(self) -> Path:
        """Which worker ended before its time."""
        return self.folder / "failure.json"

    @property
    def log(self) -> Path:
        """What torchrun and the workers printed."""
        return self.folder / "workers.log"

    def error(self, rank: int) -> Path:
        """The error of ours that ended a worker."""
        return self.folder / f"error.{rank}.json"


@dataclass(frozen=True)
class Job:
    """A training.

    Args:
        graph: What is trained.
        data: What it learns from.
        settings: How; the batch is that of all processes together.
        compress: How gradients travel.
        evaluates: Whether somebody answers questions for a score.
        watches: Whether somebody answers questions for further figures.
        began: When its time budget began to run, in seconds since 1970.
    """

    graph: TrainingGraph
    data: Dataset
    settings: Settings
    compress: str
    evaluates: bool = False
    watches: bool = False
    began: float = 0.0

    def write(self, folder: Path) -> None:
        """Into a folder that exists and is empty.

        Raises:
            DataError: The samples have to be copied, and the disk is too small for them.
        """
        for name in _MODELS:
            model = getattr(self.graph, name)
            if model is not None:
                onnx.save(model.to_proto(), folder / f"{name}.onnx")
        hand_over(self.data, folder)
        facts = {
            "graph": {f.name: getattr(self.graph, f.name) for f in fields(TrainingGraph) if f.name not in _MODELS},
            "settings": _plain(self.settings),
            "compress": self.compress,
            "evaluates": self.evaluates,
            "watches": self.watches,
            "began": self.began,
        }
        Places(folder).job.write_text(json.dumps(facts, default=dict))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job that was written.

        Raises:
            DataError: The data has changed meanwhile, or cannot be read here.
        """
        facts = json.loads(Places(folder).job.read_text())
        told: dict[str, Any] = {name: _tupled(value) for name, value in facts["graph"].items()}
        told |= {name: _model(folder / f"{name}.onnx") for name in _MODELS}
        given = {name: _tupled(value) for name, value in facts["settings"].items()}
        checkpoint = given.pop("checkpoint")
        mixing = Mixing(**given.pop("mixing"))
        settings = Settings(**given, mixing=mixing, checkpoint=None if checkpoint is None else Path(checkpoint))
        rest = (facts["compress"], facts["evaluates"], facts["watches"], facts["began"])
        return cls(TrainingGraph(**told), reopened(folder), settings, *rest)


def _plain(settings: Settings) -> dict[str, Any]:
    """The settings with their path as text."""
    given = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    checkpoint = settings.checkpoint
    return {**given, "mixing": asdict(settings.mixing), "checkpoint": checkpoint and str(checkpoint.absolute())}


def _model(path: Path) -> Model | None:
    return Model.from_proto(onnx.load(path), path.stem) if path.exists() else None


def _tupled(value: Any) -> Any:
    """JSON has lists for tuples."""
    return tuple(value) if isinstance(value, list) else value
