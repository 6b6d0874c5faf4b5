"""What pruning can reach at most, in words that begin with what was asked for."""

from __future__ import annotations

from pfir.compile.pricing import Limits, Pricing
from pfir.report import words


def at_most(pricing: Pricing, baseline_s: float, limits: Limits) -> str:
    """`3.10x smaller (12.0 kB), about 4.2x faster by estimate, ..`: of the narrowest candidate, limited figures first.

    Args:
        baseline_s: Seconds that the model itself takes.
    """
    scalable, narrowest = pricing.scalable, pricing.narrowest()
    kept = pricing.kept(narrowest)
    size, macs = scalable.size_bytes_at(kept), scalable.macs_at(kept)
    facts = (
        (limits.size_bytes, f"{words.ratio(scalable.size_bytes_at(pricing.sizes), size)} smaller ({words.size(size)})"),
        (limits.macs, f"down to {macs / scalable.macs_at(pricing.sizes):.3g} of the MACs ({words.count(macs)})"),
        (limits.latency_s, f"{words.about(baseline_s / pricing.latency_s(narrowest))} faster by estimate"),
    )
    return ", ".join(text for limit, text in sorted(facts, key=lambda fact: fact[0] is None))
