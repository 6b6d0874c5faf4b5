"""Patterns of zeros: which weights of a matrix can only go together, or how many of some neighbours may."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pfir.errors import UsageError

UNSTRUCTURED, CHANNEL_VECTORS = "unstructured", "channel-vectors"
_NUMBERS = re.compile(r"(\d{1,4})([:x])(\d{1,4})")


@dataclass(frozen=True)
class Pattern:
    """What may become zero in a matrix [O, F] whose features are (channel, tap), the tap running fastest.

    Weights that go together are a unit: `rows` outputs times `columns` features, side by side.

    Args:
        rows: Outputs of a unit.
        columns: Features of a unit; 0 for all taps of a channel.
        kept: Of every `of` input channels side by side, so many weights stay at each tap; 0 where any unit may go.
        of: See `kept`.
    """

    rows: int = 1
    columns: int = 1
    kept: int = 0
    of: int = 0

    @property
    def sparsity(self) -> float | None:
        """The share of zeros that the pattern itself says; None where any may be chosen."""
        return 1 - self.kept / self.of if self.of else None

    def width(self, taps: int) -> int:
        """How many features a unit has."""
        return self.columns or taps

    def span(self, taps: int) -> int:
        """Features side by side that decide about themselves: a whole number of units, or of channels to choose of."""
        return self.of * taps if self.of else self.width(taps)

    def refusal(self, outputs: int, features: int, taps: int) -> str:
        """Why a matrix of these sizes cannot have the pattern; empty where it can."""
        if outputs % self.rows:
            return f"{outputs} outputs are no multiple of {self.rows}"
        if self.of and features // taps % self.of:
            return f"{features // taps} input channels are no multiple of {self.of}"
        return (
            f"{features} weights of an output are no multiple of {self.columns}"
            if self.columns and (features % self.columns)
            else ""
        )

    def units(self, matrix: np.ndarray, taps: int) -> np.ndarray:
        """[O, F] -> [O / rows, F / width, rows * width], a unit in each last axis."""
        outputs, features = matrix.shape
        width = self.width(taps)
        split = matrix.reshape(outputs // self.rows, self.rows, features // width, width)
        return split.swapaxes(1, 2).reshape(outputs // self.rows, features // width, self.rows * width)

    def spread(self, units: np.ndarray, taps: int) -> np.ndarray:
        """One value for each unit, [O / rows, F / width], at all of its weights, [O, F]."""
        return units.repeat(self.rows, axis=0).repeat(self.width(taps), axis=1)

    def keep(self, scores: np.ndarray, taps: int, share: float) -> np.ndarray:
        """Which weights stay, bool [O, F]: units of the least scores go, a share of them rounded down.

        Args:
            scores: float [O, F], summed over a unit; of equals the first goes first.
            taps: Features of a channel.
            share: Of the units that go; an N:M pattern says so itself.
        """
        if self.of:
            return self._keep_of(scores, taps)
        totals = self.units(scores, taps).sum(2)
        return self.spread(most(totals, share), taps)

    def _keep_of(self, scores: np.ndarray, taps: int) -> np.ndarray:
        outputs, features = scores.shape
        groups = scores.reshape(outputs, features // (self.of * taps), self.of, taps)
        least = np.argsort(groups, axis=2, kind="stable")[:, :, : self.of - self.kept]
        keep = np.ones(groups.shape, bool)
        np.put_along_axis(keep, least, False, axis=2)
        return keep.reshape(outputs, features)


def most(scores: np.ndarray, share: float) -> np.ndarray:
    """bool in the shape of the scores: False for a share of them, rounded down, the least first."""
    keep = np.ones(scores.size, bool)
    keep[np.argsort(scores, axis=None, kind="stable")[: int(scores.size * share + 1e-9)]] = False
    return keep.reshape(scores.shape)


def parse_pattern(text: str) -> Pattern:
    """`unstructured`, `channel-vectors` (whole filter slices), N:M along the input channels, or blocks ROWSxCOLUMNS.

    Raises:
        UsageError: It is none of these.
    """
    if text in (UNSTRUCTURED, CHANNEL_VECTORS):
        return Pattern(columns=1 if text == UNSTRUCTURED else 0)
    found = _NUMBERS.fullmatch(text)
    first, second = (int(found[1]), int(found[3])) if found else (0, 0)
    if found and found[2] == ":" and 0 < first < second:
        return Pattern(kept=first, of=second)
    if found and found[2] == "x" and min(first, second) > 0:
        return Pattern(first, second)
    raise UsageError(
        f"pattern is {text}; it must be {UNSTRUCTURED}, {CHANNEL_VECTORS}, N:M as in 2:4, or a block as in 1x4 or 4x1"
    )
