"""What `--passes` asks for: what is done before the search, by it, and to its result."""

from __future__ import annotations

from dataclasses import replace

from pfir.errors import UsageError
from pfir.passes.base import Pass
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from pfir.passes.quantization.placement import KERNELS
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.spec import parse

CRITERION = "reconstruction"
LAST = (QuantizeUniform, QuantizeCodebook)
"""What gives weights few bits, once channels are chosen and trained."""


def chosen_passes(text: str | None, lanes: int, is_recipe: bool = False) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """What is done before the search, and the passes that it completes: pfir's own choice, or that of `--passes`.

    prune-channels is among the latter even where its fields are fixed: what it removes is made up for by the others.

    Args:
        lanes: Values in a vector register: what widths are multiples of, unless the text says otherwise.
        is_recipe: Whether a recipe says the text: what a search completed stands in its order there, all fields named.

    Raises:
        UsageError: The text is no list of passes, one stands behind prune-channels that leaves the search nothing to
            choose, one in front that does, or prune-channels has a schedule; or see `quantizer`.
    """
    quantizer(text)
    default = PruneChannels(criterion=CRITERION, reconstruct=True, align=lanes)
    if text is None:
        return (RemoveDeadChannels(),), (default,)
    sparsifier(text)
    passes = tuple(p for p in parse(text) if not isinstance(p, LAST) and not _is_gradual(p))
    first = next((i for i, p in enumerate(passes) if p.is_open or isinstance(p, PruneChannels)), len(passes))
    searched = passes[first:]
    if not is_recipe:
        _check_order(searched)
    return passes[:first], tuple(_in_compile(p, text, lanes) for p in searched)


def quantizer(text: str | None) -> QuantizeUniform | None:
    """The pass of `--passes` that quantizes the result, once its channels are chosen and trained.

    Raises:
        UsageError: See `_last_pass`; or it leaves its float_layers to a search.
    """
    found = _last_pass(text)
    if not text or not isinstance(found, QuantizeUniform):
        return None
    if found.float_layers is None:
        raise UsageError("--passes: quantize-uniform needs a number of float_layers; --precision int8 chooses them")
    return found if "pairs=" in text else replace(found, pairs=KERNELS)


def coder(text: str | None) -> QuantizeCodebook | None:
    """The pass of `--passes` that gives the result codebooks, likewise.

    Raises:
        UsageError: See `_last_pass`.
    """
    found = _last_pass(text)
    return found if isinstance(found, QuantizeCodebook) else None


def sparsifier(text: str | None) -> SparsifyWeights | None:
    """The pass of `--passes` whose zeros spread while the result is trained.

    Raises:
        UsageError: It stands there twice, in front of others than what gives weights few bits, or says no sparsity.
    """
    passes = [p for p in parse(text) if not isinstance(p, LAST)] if text else []
    found = [p for p in passes if _is_gradual(p)]
    if not found:
        return None
    if len(found) > 1 or passes[-1] is not found[0]:
        raise UsageError("--passes: sparsify-weights{gradual=true} comes once, behind what else changes weights")
    if found[0].is_open:
        raise UsageError("--passes: sparsify-weights{gradual=true} needs its sparsity; no search trains candidates")
    return found[0] if isinstance(found[0], SparsifyWeights) else None


def _is_gradual(each: Pass) -> bool:
    return isinstance(each, SparsifyWeights) and each.gradual


def leaves_bits(text: str | None) -> bool:
    """Whether the last pass leaves the bits of weights to the search."""
    found = _last_pass(text)
    return found is not None and found.is_open


def _last_pass(text: str | None) -> Pass | None:
    """The pass of `--passes` that gives the result's weights few bits; None where it names none.

    Raises:
        UsageError: It stands there twice or not last.
    """
    passes = parse(text) if text else ()
    found = [p for p in passes if isinstance(p, LAST)]
    if found and (passes[-1] != found[0] or len(found) > 1):
        raise UsageError(f"--passes: {found[0].name} comes once, as the last pass: what is quantized is the result")
    return found[0] if found else None


def _check_order(searched: tuple[Pass, ...]) -> None:
    """Return only if the passes can be searched together, in this order.

    Raises:
        UsageError: They cannot.
    """
    pruning = [i for i, p in enumerate(searched) if isinstance(p, PruneChannels)]
    if len(pruning) > 1:
        raise UsageError(f"--passes: prune-channels stands there {len(pruning)} times; it comes once, as the last pass")
    if pruning and pruning[0] > 0:
        raise UsageError(
            f"--passes: {searched[0].name} in front of prune-channels leaves its fields to the search; "
            "name them, or put it last"
        )
    if fixed := [p.name for p in searched[1:] if not p.is_open]:
        raise UsageError(
            f"--passes: {fixed[0]} stands behind {searched[0].name}, which is the last pass unless others leave fields "
            f"to the search; put {fixed[0]} in front"
        )


def _in_compile(each: Pass, text: str, lanes: int) -> Pass:
    """The pass as `pfir compile` uses it: prune-channels with what it leaves unsaid, chosen for compile."""
    if not isinstance(each, PruneChannels):
        return each
    if each.steps > 1 or each.group_wise:
        raise UsageError("--passes: steps and group_wise are for pfir opt; compile removes channels at once")
    if each.within_heads:
        raise UsageError("--passes: within_heads is for pfir opt; compile removes whole heads")
    named = replace(each, reconstruct=True)
    if "criterion=" not in text:
        named = replace(named, criterion=CRITERION)
    return named if "align=" in text else replace(named, align=lanes)
