"""Replaying a recipe: the same channels go and the same weights come, without search or training."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from pfir.artifact import Tuning
from pfir.compile.prepare import Original
from pfir.compile.request import Request
from pfir.compile.selection.searching import Found, pruning_text
from pfir.compile.training.fine_tuning import FineTuned
from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.recipe import Recipe, read_recipe, read_weights
from pfir.report import words


def replay(original: Original, request: Request) -> tuple[Found, FineTuned]:
    """The model of the recipe.

    Raises:
        UsageError: The recipe is of another model, or its weights do not fit.
    """
    recipe = _recipe(original, request)
    found = pruned(original, request, recipe)
    arrays = read_weights(request.recipe, recipe)
    model = found.model.clone()
    constants = model.initializers()
    if set(arrays) != set(constants) or any(arrays[n].shape != constants[n].values.shape for n in arrays):
        raise UsageError(f"the weights of {request.recipe} do not fit the model that this version of pfir makes")
    model.set_arrays(arrays)
    if recipe.training:
        model.record("fine-tune")
    return found, FineTuned(model, settings=recipe.training)


def check_recipe(original: Original, request: Request) -> None:
    """Return only if the request has no recipe, or one of this model with its weights beside it.

    Raises:
        UsageError: The recipe is no recipe, is of another model, or lacks its weights.
    """
    if request.recipe is None:
        return
    recipe = _recipe(original, request)
    if not request.retrain:
        read_weights(request.recipe, recipe)


def read_removal(original: Original, request: Request) -> dict[str, np.ndarray]:
    """Group name to the channels that the recipe removed.

    Raises:
        UsageError: The recipe is of another model.
    """
    return {g: np.array(channels, np.int64) for g, channels in _recipe(original, request).removed.items()}


def tuned_otherwise(request: Request, tuning: Tuning | None) -> tuple[str, ...]:
    """The sentence that says so where a replay builds for the recipe's core by other measured kernels than it tells."""
    if request.recipe is None or tuning is None:
        return ()
    before = read_recipe(request.recipe).tuning
    if before is None or before.core != tuning.core or before.choices == tuning.choices:
        return ()
    then, now = (words.tuned(asdict(side)) for side in (before, tuning))
    return (f"The library is not the recipe's: it was built by other measured kernels ({then} then, {now} now).",)


def _recipe(original: Original, request: Request) -> Recipe:
    recipe = read_recipe(request.recipe)
    if recipe.model_sha256 != original.sha256:
        raise UsageError(f"{request.recipe} was made for another model than {request.model}: its SHA-256 differs")
    return recipe


def pruned(original: Original, request: Request, recipe: Recipe) -> Found:
    """The original without the recipe's channels; its other weights are as they were.

    Raises:
        UsageError: The model has no such groups.
    """
    coupling = channel_groups(original.start, request.keep, request.only)
    removed = {g: np.array(channels, np.int64) for g, channels in recipe.removed.items()}
    model = original.start.clone()
    remove_channels(model, coupling, removed)
    widths = {g.name: (g.size, g.size - len(removed.get(g.name, ()))) for g in coupling.free()}
    if text := pruning_text(widths):
        model.record(text)
    return Found(model, removed, widths, (), 0.0, coupling)
