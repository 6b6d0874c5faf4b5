"""Before the search: the original as any compiler would see it, its target, backend and device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends import known_backend
from pfir.compile.calibration.early_samples import EarlySamples
from pfir.compile.methods.asked import chosen_passes, coder, leaves_bits, quantizer, sparsifier
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite
from pfir.ir.edit import set_input
from pfir.ir.linear import plain_layer
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.spec import format_pass
from pfir.recipe import read_recipe
from pfir.run.trial import check_safe
from pfir.target import FLOAT16, FLOAT32, INT8, Target, arithmetic_named, has_float16, parse_target, with_arithmetic

BASELINE = (Simplify(), FoldBatchNorm())


@dataclass(frozen=True)
class RunModels:
    """The models that play a part in a run, before any is compressed.

    Args:
        original: The model as loaded: what fidelity is measured against.
        baseline: The original simplified and folded, as any compiler would do: the side "before" of every figure.
        teacher: What candidates are scored, fitted and taught by; it computes what the original does.
        start: Where compression begins: the baseline once the passes in front have changed it, perhaps for good.
    """

    original: Model
    baseline: Model
    teacher: Model
    start: Model


@dataclass(frozen=True)
class Prepared:
    """The model that was given, ready to be compressed.

    Args:
        models: The parts that it plays.
        sha256: Of the file.
        searched: The passes that become methods of the search, in order; none where `--passes` names none.
        passes: The texts of what led to `models.start`.
        is_compressed: Whether a pass in front gave up some of the function already.
        quantizer: What `--passes` quantizes the result by; None where it says nothing of it.
        coder: What `--passes` gives the result codebooks by, likewise.
        sparsifier: What `--passes` lets zeros spread by while the result is trained, likewise.
    """

    models: RunModels
    sha256: str
    searched: tuple[Pass, ...]
    passes: tuple[str, ...]
    is_compressed: bool = False
    quantizer: QuantizeUniform | None = None
    coder: QuantizeCodebook | None = None
    sparsifier: SparsifyWeights | None = None

    @property
    def few_bits(self) -> QuantizeUniform | QuantizeCodebook | None:
        """What gives weights as many bits as a search chooses; None where their number is fixed."""
        if self.quantizer is not None and self.quantizer.searches_bits:
            return self.quantizer
        return self.coder if self.coder is not None and self.coder.is_open else None

    @property
    def open(self) -> tuple[Pass, ...]:
        """The passes that become methods of the search, what gives weights few bits the last of them."""
        return (*self.searched, *([] if self.few_bits is None else [self.few_bits]))


def prepare(request: Request, lanes: int) -> Prepared:
    """Load and simplify.

    Raises:
        FrontendError: The model cannot be used.
    """
    text = _passes_text(request)
    first, searched = chosen_passes(text, lanes, request.passes is None)
    model = load(request.model)
    check_safe(model)
    check_finite(model)
    baseline, _ = run(BASELINE, model, Context())
    give_biases(baseline)
    early = EarlySamples(request, baseline, model)
    context = Context(
        activations=early.activations,
        gradients=early.gradients,
        train=early.train,
        keep=request.keep,
        only=request.only,
        seed=request.seed,
    )
    start, _ = run(first, baseline, context)
    texts = tuple(format_pass(p) for p in (*BASELINE, *first))
    is_compressed = any(p.compresses and format_pass(p) in start.provenance for p in first)
    models = RunModels(original=model, baseline=baseline, teacher=baseline, start=start)
    last = (quantizer(text), coder(text), sparsifier(text))
    return Prepared(models, _sha256(request.model), searched, texts, is_compressed, *last)


def check_passes(request: Request, lanes: int) -> None:
    """Return only if `--passes`, or the recipe's passes, can be read, and do not contradict `--precision`.

    Raises:
        UsageError: They do, or see `chosen_passes`.
    """
    text = _passes_text(request)
    chosen_passes(text, lanes, request.passes is None)
    if quantizer(text) is not None and request.precision in (FLOAT32.name, FLOAT16.name):
        raise UsageError(
            f"--passes names quantize-uniform, and --precision {request.precision} leaves no layer to it; drop one"
        )
    if coder(text) is not None and request.precision == INT8:
        raise UsageError("--passes names quantize-codebook, and --precision int8 leaves no layer to it; drop one")
    if request.goals.size is None and request.recipe is None and leaves_bits(text):
        raise UsageError("--passes leaves bits to the search, and only a goal of size asks for fewer; add --size")


def wanted_target(request: Request) -> Target:
    """The target, whose floats are float16 where `--precision` or the recipe that is replayed says so.

    `auto` takes float16 where the core and the backend have it.

    Raises:
        UsageError: There is no such target, or it cannot compute so.
    """
    target, has = parse_target(request.target), FLOAT16 in known_backend(request.backend).arithmetics
    if request.recipe is not None:
        floats = read_recipe(request.recipe).arithmetic
    elif request.precision == AUTO_PRECISION:
        floats = FLOAT16.name if has and has_float16(target) else FLOAT32.name
    else:
        floats = FLOAT16.name if request.precision == FLOAT16.name else FLOAT32.name
    if floats == FLOAT16.name and not has:
        raise UsageError(
            f"--precision float16, or a recipe made with it, is for --backend tvm; {request.backend} has float32 only"
        )
    return with_arithmetic(target, arithmetic_named(floats))


def _passes_text(request: Request) -> str | None:
    """The text of `--passes`, else that of the recipe that is replayed; None where pfir chooses."""
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
    for layer in filter(None, map(plain_layer, model.nodes())):
        node, weight = layer.node, layer.weight
        if not layer.is_convolution or len(node.inputs) != 2:
            continue
        if not isinstance(weight, gs.Constant) or np.dtype(weight.dtype).kind != "f":
            continue
        zeros = np.zeros(layer.layout.outputs(weight.shape), weight.values.dtype)
        set_input(node, layer.operator.bias, gs.Constant(f"{node.name}.pfir_bias", zeros))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
