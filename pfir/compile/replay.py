"""Replaying a recipe: the methods do the same again and the same weights come, without search or training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import Tuning
from pfir.compile.methods.base import Choice, Method
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.codebooks import coded_frame
from pfir.compile.precision.layers import Quantization
from pfir.compile.precision.quantizing import quantized_frame
from pfir.compile.prepare import Prepared, fixed
from pfir.compile.request import Request
from pfir.compile.run_context import Chosen
from pfir.compile.selection.search_context import method_for
from pfir.compile.selection.searching import Found, as_it_is
from pfir.compile.training.fine_tuning import COMPILED, GIVEN, TIMED, FineTuned
from pfir.compile.training.options import COMPILE, TrainOptions, parse_train
from pfir.compile.versions import versions
from pfir.errors import UsageError
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.spec import parse
from pfir.recipe import CODEBOOKS, QUANTIZED, ZEROS, Recipe, read_recipe, read_weights
from pfir.report import wording
from pfir.train.engines.base import ALWAYS_COMPILE, NEVER_COMPILE
from pfir.train.engines.choice import engine_named, why_not_compiled

_TRAINERS = ("onnxruntime-training", "torch", "numpy")
"""Libraries whose version may change what a training learns."""


def replay(prepared: Prepared, request: Request) -> Chosen:
    """The model of the recipe.

    Raises:
        UsageError: The recipe is of another model, or its weights do not fit.
    """
    recipe = _recipe(prepared, request)
    found = rebuilt(prepared, request, recipe)
    arrays = read_weights(request.recipe, recipe)
    model, quantization, zeros = found.model.clone(), _quantization(recipe), str(recipe.parts.get(ZEROS, ""))
    if zeros:
        model.record(zeros)
    if recipe.training:
        model.record("fine-tune")
    if quantization is not None:
        model = quantized_frame(model, quantization)
    coding = recipe.parts.get(CODEBOOKS)
    if coding is not None:
        model = coded_frame(model, str(coding["text"]), bool(coding["trained"]))
    constants = model.initializers()
    arrays = {name: _typed(array, constants.get(name)) for name, array in arrays.items()}
    if set(arrays) != set(constants) or any(arrays[n].shape != constants[n].values.shape for n in arrays):
        raise UsageError(f"the weights of {request.recipe} do not fit the model that this version of pfir makes")
    model.set_arrays(arrays)
    fine_tuned, text = FineTuned(model, settings=recipe.training), "" if coding is None else str(coding["text"])
    return Chosen(found, fine_tuned, quantization=quantization, codebooks=text, zeros=zeros)


def wanted_codebooks(prepared: Prepared, request: Request) -> QuantizeCodebook | None:
    """The pass that is to give the result codebooks; None where none is, or a replay has brought them already."""
    if request.recipe is None:
        return prepared.coder
    coding = read_recipe(request.recipe).parts.get(CODEBOOKS)
    if coding is None or not request.retrain:
        return None
    (found,) = parse(str(coding["text"]))
    return found if isinstance(found, QuantizeCodebook) else None


def check_recipe(prepared: Prepared, request: Request) -> None:
    """Return only if the request has no recipe, or one of this model with its weights beside it.

    Raises:
        UsageError: The recipe is no recipe, is of another model, or lacks its weights.
    """
    if request.recipe is None:
        return
    recipe = _recipe(prepared, request)
    if not request.retrain:
        read_weights(request.recipe, recipe)


def recipe_quantization(request: Request) -> Quantization | None:
    """How the recipe's model was quantized; None where it was not."""
    return _quantization(read_recipe(request.recipe))


def recipe_zeros(request: Request) -> SparsifyWeights | None:
    """The pass that made the recipe's weights zero; None where none did."""
    text = read_recipe(request.recipe).parts.get(ZEROS)
    found = parse(str(text))[0] if text else None
    return found if isinstance(found, SparsifyWeights) else None


def recipe_choices(prepared: Prepared, request: Request, methods: Sequence[Method]) -> tuple[Choice, ...]:
    """What the recipe says of each method.

    Raises:
        UsageError: The recipe is of another model, or says nothing of a method.
    """
    recipe = _recipe(prepared, request)
    return tuple(method.read(recipe.parts) for method in methods)


def train_options(request: Request) -> TrainOptions:
    """What is said of training: by the request, else by the recipe whose training is done again.

    Steps are compiled again where all trainings of the recipe had them so and this machine can, and never where none
    had.
    """
    if request.train.values or request.recipe is None:
        return request.train
    recipe = read_recipe(request.recipe)
    quantization = _quantization(recipe)
    trainings = (recipe.training, {} if quantization is None else quantization.training)
    given = [str(training[GIVEN]) for training in trainings if GIVEN in training]
    said = parse_train(given[0]) if given else TrainOptions()
    compiled = {bool(training[COMPILED]) for training in trainings if COMPILED in training}
    return replace(said, decided=_compiled_again(request, compiled))


def _compiled_again(request: Request, before: Set[bool]) -> dict[str, str]:
    """The option of `--train` that compiles steps as they were `before`, in all trainings or in none; empty where it is
    left to be decided."""
    if before == {False}:
        return {COMPILE: NEVER_COMPILE}
    can = before == {True} and not why_not_compiled(engine_named(request.engine), request.processes.several)
    return {COMPILE: ALWAYS_COMPILE} if can else {}


def tuned_otherwise(request: Request, tuning: Tuning | None) -> tuple[str, ...]:
    """The sentence that says so where a replay builds for the recipe's core by other measured kernels than it tells."""
    if request.recipe is None or tuning is None:
        return ()
    before = read_recipe(request.recipe).tuning
    if before is None or before.core != tuning.core or before.choices == tuning.choices:
        return ()
    then, now = (wording.tuned(asdict(side)) for side in (before, tuning))
    return (f"The library is not the recipe's: it was built by other measured kernels ({then} then, {now} now).",)


def retrained_otherwise(request: Request, training: Mapping[str, object] | None) -> tuple[str, ...]:
    """The sentence that says so where a training that was to be done again was or is bound to be another one.

    Args:
        training: What the recipe of this run will tell of it; None where its outcome was dropped.
    """
    if not request.retrain or not training:
        return ()
    recipe = read_recipe(request.recipe)
    before = recipe.training
    pairs = [(name, before[name], training[name]) for name in before if name in training and name != TIMED]
    pairs += [(name, then, versions().get(name, "none")) for name, then in recipe.versions.items() if name in _TRAINERS]
    others = [
        f"{name} {_said(now)} in place of {_said(then)}" for name, then, now in pairs if _said(then) != _said(now)
    ]
    others += ["rates by the clock"] if before.get(TIMED) or training.get(TIMED) else []
    return (f"The training is not the recipe's, and its weights may be others: {', '.join(others)}.",) if others else ()


def _said(value: object) -> str:
    return json.dumps(value)


def _quantization(recipe: Recipe) -> Quantization | None:
    part = recipe.parts.get(QUANTIZED)
    return None if part is None else Quantization(part["text"], tuple(part["left_in_float"]), part["training"])


def _typed(array: np.ndarray, like: gs.Constant | None) -> np.ndarray:
    """The array in the type that a file of NumPy's has no name for: integers of four bits."""
    is_nameless = like is not None and array.dtype.kind == "V"
    return array.view(like.values.dtype) if is_nameless else array


def _recipe(prepared: Prepared, request: Request) -> Recipe:
    recipe = read_recipe(request.recipe)
    if recipe.model_sha256 != prepared.sha256:
        raise UsageError(f"{request.recipe} was made for another model than {request.model}: its SHA-256 differs")
    return recipe


def rebuilt(prepared: Prepared, request: Request, recipe: Recipe) -> Found:
    """The model as the recipe's methods left it, its other weights as they were: the recipe brings its own.

    Raises:
        UsageError: The model has no such groups.
    """
    if not prepared.searched:
        return as_it_is(prepared.models.start)
    sizing = Sizing(partial(fixed, request=request))
    methods = tuple(method_for(each, prepared.models.start, request, sizing, None) for each in prepared.searched)
    choices = tuple(method.read(recipe.parts) for method in methods)
    model = prepared.models.start.clone()
    for method, choice in zip(methods, choices, strict=True):
        model = method.build(model, choice)
    return Found(model, choices)
