"""Before the search: the original as any compiler would see it, its target, backend and device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends import known_backend
from pfir.compile.request import Request
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.pipeline import run
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.spec import format_pass, parse
from pfir.recipe import read_recipe
from pfir.run.trial import check_safe
from pfir.target import FLOAT16, FLOAT32, Target, parse_target, with_arithmetic

BASELINE = (Simplify(), FoldBatchNorm())
CRITERION = "reconstruction"


@dataclass(frozen=True)
class Original:
    """The model that was given.

    Args:
        model: As loaded.
        baseline: Simplified and folded: what any compiler would do, so no part of the speed-up.
        start: The baseline without dead channels: where compression begins.
        sha256: Of the file.
        pruning: How channels are chosen; None where `--passes` leaves pruning out.
        passes: The texts of what led to `start`.
    """

    model: Model
    baseline: Model
    start: Model
    sha256: str
    pruning: PruneChannels | None
    passes: tuple[str, ...]


def prepare(request: Request, lanes: int) -> Original:
    """Load and simplify.

    Raises:
        FrontendError: The model cannot be used.
    """
    first, pruning = chosen_passes(_passes_text(request), lanes)
    model = load(request.model)
    check_safe(model)
    check_finite(model)
    baseline, _ = run(BASELINE, model, Context())
    give_biases(baseline)
    context = Context(keep=request.keep, only=request.only, seed=request.seed)
    start, _ = run(first, baseline, context)
    texts = tuple(format_pass(p) for p in (*BASELINE, *first))
    return Original(model, baseline, start, _sha256(request.model), pruning, texts)


def check_passes(request: Request, lanes: int) -> None:
    """Return only if `--passes`, or the recipe's passes, can be read.

    Raises:
        UsageError: See `chosen_passes`.
    """
    chosen_passes(_passes_text(request), lanes)


def wanted_target(request: Request) -> Target:
    """The target, computing in float16 where `--fp16` or the recipe that is replayed says so.

    Raises:
        UsageError: There is no such target, or it cannot compute so.
    """
    target = parse_target(request.target)
    replayed = FLOAT32.name if request.recipe is None else read_recipe(request.recipe).arithmetic
    if not request.fp16 and replayed == FLOAT32.name:
        return target
    if FLOAT16 not in known_backend(request.backend).arithmetics:
        raise UsageError(f"--fp16, or a recipe made with it, is for --backend tvm; {request.backend} has float32 only")
    return with_arithmetic(target, FLOAT16)


def chosen_passes(text: str | None, lanes: int) -> tuple[tuple[Pass, ...], PruneChannels | None]:
    """What comes before pruning, and the pruning: pfir's own choice, or that of `--passes`.

    Args:
        lanes: Values in a vector register: what widths are multiples of, unless the text says otherwise.

    Raises:
        UsageError: The text is no list of passes, something stands behind prune-channels, or it has a schedule.
    """
    default = PruneChannels(criterion=CRITERION, reconstruct=True, align=lanes)
    if text is None:
        return (RemoveDeadChannels(),), default
    passes = parse(text)
    places = [i for i, p in enumerate(passes) if isinstance(p, PruneChannels)]
    if not places:
        return passes, None
    if places != [len(passes) - 1]:
        raise UsageError("--passes: prune-channels comes once, as the last pass")
    if passes[-1].steps > 1 or passes[-1].group_wise:
        raise UsageError("--passes: steps and group_wise are for pfir opt; compile removes channels at once")
    if passes[-1].within_heads:
        raise UsageError("--passes: within_heads is for pfir opt; compile removes whole heads")
    named = replace(passes[-1], reconstruct=True)
    if "criterion=" not in text:
        named = replace(named, criterion=CRITERION)
    return passes[:-1], named if "align=" in text else replace(named, align=lanes)


def _passes_text(request: Request) -> str | None:
    """Of `--passes`, else of the recipe that is replayed; None where pfir chooses."""
    if request.passes is not None or request.recipe is None:
        return request.passes
    behind = read_recipe(request.recipe).passes[len(BASELINE) :]
    return ",".join(str(p) for p in behind) or None


def fixed(model: Model, request: Request) -> Model:
    """The model with the sizes that its library will have.

    Raises:
        UsageError: A size is unknown, or contradicts the model.
    """
    return fix_sizes(model, request.batch, dict(request.input_shapes))


def give_biases(model: Model) -> None:
    """Give each convolution without a bias one of zeros: a place for the mean in least squares and in training."""
    for node in model.nodes():
        if node.op not in ("Conv", "ConvTranspose") or len(node.inputs) != 2:
            continue
        weight = node.inputs[1]
        if not isinstance(weight, gs.Constant) or np.dtype(weight.dtype).kind != "f":
            continue
        outputs = weight.shape[0] if node.op == "Conv" else weight.shape[1] * node.attrs.get("group", 1)
        node.inputs.append(gs.Constant(f"{node.name}.pfir_bias", np.zeros(outputs, weight.values.dtype)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
