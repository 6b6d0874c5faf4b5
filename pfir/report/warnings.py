"""What the numbers of a compilation themselves demand to be said."""

from __future__ import annotations

from pfir.measurement import ESTIMATED, speedup
from pfir.report.record import RunRecord, Side, Verification, precisions
from pfir.target import FLOAT32

DISAGREEMENT = 0.25  # Speed-up ratios further apart than this are pointed out.
SAFE_FIDELITY = 0.9  # Below it a result that no labels judged should not be shipped.
_WAYS = {
    "estimate": "about {:.2g}x by the estimate",
    "device": "{:.2f}x on the device",
    "host": "{:.2f}x measured on this machine",
    "instructions": "{:.2f}x fewer instructions",
}


def warnings(run: RunRecord) -> tuple[str, ...]:
    """What the numbers themselves demand to be said."""
    found = [_disagreement(run), _unsafe(run), _rounded(run), *_unverified(run.verification)]
    return tuple(text for text in found if text)


def _unverified(check: Verification) -> list[str]:
    found = []
    if check.passed is None:
        found.append(f"Verification is {check.skipped}.")
    elif check.skipped:
        found.append(f"The library was not verified: {check.skipped}.")
    if check.not_verified_on:
        found.append(
            f"The library was not verified on {check.not_verified_on} ({check.reason}): what was compared on this "
            "machine is the same model built for it."
        )
    if check.near_zero:
        names = ", ".join(check.near_zero)
        found.append(f"On all verified samples {names} is so near zero that an error goes unseen.")
    return found


def ratios(baseline: Side, result: Side) -> dict[str, float]:
    """The speed-up by each way it was counted."""
    name = "estimate" if baseline.latency.source == ESTIMATED else "device"
    found = {name: speedup(baseline.latency, result.latency)}
    if baseline.host_latency_s and result.host_latency_s:
        found["host"] = baseline.host_latency_s / result.host_latency_s
    if baseline.instructions and result.instructions:
        found["instructions"] = baseline.instructions / result.instructions
    return found


def _disagreement(run: RunRecord) -> str:
    found = ratios(run.baseline, run.result)
    if set(precisions(run.layers)) - {FLOAT32.name}:
        found.pop("instructions", None)  # One of integers takes another time than one of floats.
    if max(found.values()) <= (1 + DISAGREEMENT) * min(found.values()):
        return ""
    listed = ", ".join(_WAYS[name].format(value) for name, value in found.items())
    return f"The speed-ups disagree by more than {DISAGREEMENT:.0%}: {listed}."


def _unsafe(run: RunRecord) -> str:
    fidelity = run.result.fidelity
    if run.result.accuracy is not None or fidelity is None or fidelity >= SAFE_FIDELITY:
        return ""
    return (
        f"No accuracy was measured and the fidelity is {fidelity:.2f}, below {SAFE_FIDELITY}: "
        f"do not ship this model without checking it {_check(run)}."
    )


def _check(run: RunRecord) -> str:
    return "by a measure of your own" if run.fidelity_data == "given" else "on data (--data)"


def _rounded(run: RunRecord) -> str:
    if run.target.arithmetic == FLOAT32:
        return ""
    check, said = run.verification, "The floats of the result are float16, those of the original float32"
    if check.top1_agreement is not None:
        said += f"; best classes as in float32 for {check.top1_agreement:.0%} of {check.samples} verified samples"
    return f"{said}; accuracy and fidelity are those of the model in float32."
