"""What each term of the loss and each way of mixing gives a pruned ResNet-20 that is fine-tuned.

    python benchmarks/training/terms.py [--models DIR] [--images 5000] [--epochs 10] [--seeds 3] [--only NAME ...]

A share `--ratio` of the channels goes, the consumers are fitted, and the rest learns from images of CIFAR-10's
training set by the settings of `pfir compile`, one term changed at a time. Scores are on other training images, never
on test images. Writes benchmarks/results/training_terms.json and .md after each training; `--only` keeps the rows that
are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cifar10 import load_cifar10  # noqa: E402
from benchmarks.real_networks import CIFAR  # noqa: E402
from pfir.compile.training.fine_tuning import CLIP, LEARNING_RATE  # noqa: E402
from pfir.compile.training.recipes import LABEL_WEIGHT  # noqa: E402
from pfir.compile.training.teaching import with_arrays  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.files.arrays import ArrayDataset  # noqa: E402
from pfir.data.preprocess import parse_preprocess  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.batch_norm.restore import RestoreBatchNorm  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.passes.distillation.features import AUTO_FEATURES  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.run.evaluate import evaluate  # noqa: E402
from pfir.run.session import Session  # noqa: E402
from pfir.train.feeding.mixing import Mixing  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402
from pfir.train.trainer import fit  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "training_terms.json"
HELD_BACK = 2000
TERMS = {
    "as it is": ({}, Mixing()),
    "labels alone": ({"teacher_weight": 0.0, "label_weight": 1.0}, Mixing()),
    "teacher alone": ({"label_weight": 0.0}, Mixing()),
    "label smoothing": ({"label_smoothing": 0.1}, Mixing()),
    "features 0.1": ({"features": AUTO_FEATURES, "feature_weight": 0.1}, Mixing()),
    "features 1": ({"features": AUTO_FEATURES, "feature_weight": 1.0}, Mixing()),
    "mixup 0.2": ({}, Mixing(mixup=0.2)),
    "mixup 1": ({}, Mixing(mixup=1.0)),
    "cutmix 1": ({}, Mixing(cutmix=1.0)),
}

COLUMNS = (("accuracy", 100, 2), ("fidelity", 100, 2), ("divergence", 1, 4))


def main() -> None:
    arguments = _arguments()
    teacher = load(arguments.models / "resnet20_cifar10_fp32.onnx")
    train, unseen = _data(teacher, arguments.images)
    student = _student(teacher, train, arguments.ratio)
    found = {"images": arguments.images, "epochs": arguments.epochs, "ratio": arguments.ratio}
    found["rows"] = json.loads(RESULT.read_text())["rows"] if arguments.only and RESULT.exists() else {}
    for name in arguments.only or TERMS:
        found["rows"][name] = []
        for seed in range(arguments.seeds):
            scores = _trained(student, teacher, train, unseen, name, _settings(name, seed, arguments))
            found["rows"][name].append(scores)
            print(name, seed, scores, flush=True)
            RESULT.write_text(json.dumps(found, indent=1) + "\n")
            RESULT.with_suffix(".md").write_text(_page(found))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ratio", type=float, default=0.4)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--only", nargs="*", choices=TERMS)
    return parser.parse_args()


def _data(model: Model, images: int) -> tuple[Dataset, Dataset]:
    """Images to train on, and as many others to judge by as `HELD_BACK` says."""
    cifar = load_cifar10()
    arrays = {"x": cifar["train_x"], "y": cifar["train_y"]}
    whole = ArrayDataset(arrays, model.inputs(), parse_preprocess(CIFAR), "CIFAR-10")
    order = np.random.default_rng(0).permutation(len(whole))
    return whole.subset(order[:images]), whole.subset(order[-HELD_BACK:])


def _student(teacher: Model, data: Dataset, ratio: float) -> Model:
    """The teacher without this share of its channels, BatchNormalization put back."""

    def activations(model: Model, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        session = Session(model.until(names))
        for start in range(0, min(256, len(data) - 31), 32):
            yield session.predict(data.batch(np.arange(start, start + 32)))

    passes = (PruneChannels(ratio=ratio, reconstruct=True), RestoreBatchNorm())
    return run(passes, teacher, Context(activations=activations))[0]


def _settings(name: str, seed: int, arguments: argparse.Namespace) -> Settings:
    return Settings(
        epochs=arguments.epochs,
        batch=32,
        learning_rate=LEARNING_RATE["few"],
        clip=CLIP,
        seed=seed,
        augment="flip-crop",
        mixing=TERMS[name][1],
        engine=arguments.engine,
    )


def _trained(
    student: Model, teacher: Model, train: Dataset, unseen: Dataset, name: str, settings: Settings
) -> dict[str, float | None]:
    weights = {"teacher_weight": 1.0, "label_weight": LABEL_WEIGHT} | TERMS[name][0]
    graph = attach_teacher(student, teacher, DistillationSettings(**weights, mixed=bool(settings.mixing)))
    scores = evaluate(with_arrays(student, fit(graph, train, settings).arrays), unseen, teacher)
    return {"accuracy": scores.accuracy, "fidelity": scores.fidelity, "divergence": scores.divergence}


def _page(found: dict) -> str:
    lines = [
        "# What each term of the loss gives",
        "",
        f"`python benchmarks/training/terms.py`: ResNet-20 without {100 * found['ratio']:.0f} % of its channels,",
        f"trained for {found['epochs']} epochs on {found['images']:,} images of CIFAR-10's training set, judged on",
        f"{HELD_BACK:,} others (which the original has seen). As it is: the teacher's answers and labels. Means of the",
        "seeds, and the standard deviation between them.",
        "",
        "| loss | seeds | accuracy, % | fidelity, % | divergence, nats |",
        "|---|---|---|---|---|",
    ]
    for name, rows in found["rows"].items():
        if rows:
            cells = [_spread([scale * row[key] for row in rows], digits) for key, scale, digits in COLUMNS]
            lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


if __name__ == "__main__":
    main()
