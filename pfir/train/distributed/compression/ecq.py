"""Gradients in a few levels, rounded at random, what was rounded away being added to later gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.errors import UsageError
from pfir.train.distributed.compression.base import LEFT, STEP, Arrays, Collectives
from pfir.train.distributed.compression.packing import packed, unpacked
from pfir.train.flat import FlatBuffer

BUCKET = 256
ALPHA, BETA = 0.2, 1.0
"""What is left over after 60 random gradients has the norm of 2 of them (normal values) to 4 (heavy tails). With an
ALPHA of 1, as error feedback usually has it, that is 6 to 9, and still grows: rounding at random is no contraction."""


@dataclass(frozen=True)
class Quantizer:
    """Stochastic rounding of buckets to `levels` steps of their largest magnitude.

    Args:
        bucket: Values that share a scale, >= 1.
        levels: Steps from 0 to the scale, 1 to 127; with 1 values are negative, zero or positive.

    Raises:
        UsageError: A value is out of range.

    Source: Wu et al., "Error Compensated Quantized SGD and its Applications to Large-scale Distributed Optimization",
    ICML 2018, arXiv:1806.08054, section 3; scales are of half precision, and digits have Huffman's code.
    """

    bucket: int = BUCKET
    levels: int = 1

    def __post_init__(self) -> None:
        if self.bucket < 1:
            raise UsageError(f"bucket is {self.bucket}; it must be at least 1")
        if not 1 <= self.levels <= 127:
            raise UsageError(f"levels is {self.levels}; it must be from 1 to 127")

    def encoded(self, values: np.ndarray, rng: np.random.Generator) -> bytes:
        """Finite values, float32 [size], as bytes whose expectation they are."""
        rows = _rows(values, self.bucket)
        common, scales = _scales(np.abs(rows).max(1))
        steps = _quotients(rows, (common * scales.astype(np.float32))[:, None]) * np.float32(self.levels)
        digits = np.floor(steps + rng.random(steps.shape, np.float32))
        np.clip(digits, -self.levels, self.levels, out=digits)
        digits += self.levels
        content = packed(digits.astype(np.uint8).reshape(-1), 2 * self.levels + 1)
        return np.float32(common).tobytes() + scales.tobytes() + content

    def decoded(self, content: bytes, size: int) -> np.ndarray:
        """The values that `encoded` rounded to, float32 [size]."""
        count = -(-size // self.bucket)
        common = np.frombuffer(content, np.float32, 1)[0]
        scales = common * np.frombuffer(content, np.float16, count, 4).astype(np.float32)
        digits = unpacked(content[4 + 2 * count :], count * self.bucket, 2 * self.levels + 1)
        steps = digits.astype(np.float32).reshape(count, self.bucket) - np.float32(self.levels)
        return (steps * (scales / np.float32(self.levels))[:, None]).reshape(-1)[:size]


class ErrorCompensated:
    """See Hook: every worker sends Q(g + alpha h) to all, and keeps h <- beta h + g - Q.

    With beta = 1 what was sent and what is left are together the sum of all gradients.

    Args:
        seed: Of the rounding, together with the rank.
        quantizer: Q.
        alpha: Share of what is left that is added to a gradient.
        beta: Share of what is left that stays.

    Source: As of the quantizer, section 3.2.
    """

    compensates = True

    def __init__(
        self, seed: int = 0, quantizer: Quantizer | None = None, alpha: float = ALPHA, beta: float = BETA
    ) -> None:
        self._quantizer = quantizer or Quantizer()
        self._seed, self._alpha, self._beta = seed, np.float32(alpha), np.float32(beta)
        self._step = 0
        self.left: np.ndarray | None = None

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """See Hook. What is not finite in one worker becomes so in all."""
        flat, size = gradients.flat, gradients.flat.size
        parts = group.gather(self._sent(flat, group.rank))
        flat[:] = 0
        for content in parts:
            flat += self._quantizer.decoded(content, size) if content else np.float32(np.nan)
        flat *= np.float32(1.0 / group.count)

    def forget(self) -> None:
        """See Hook."""
        self.left = None

    def state(self) -> dict[str, np.ndarray]:
        """See Hook."""
        held = {} if self.left is None else {LEFT: self.left.copy()}
        return {STEP: np.array(self._step), **held}

    def restore(self, state: Arrays) -> None:
        """See Hook."""
        self._step, left = int(state[STEP]), state.get(LEFT)
        self.left = None if left is None else left.copy()

    def _sent(self, gradient: np.ndarray, rank: int) -> bytes:
        """This worker's message; an empty one where the gradient is not finite."""
        left = np.zeros_like(gradient) if self.left is None else self.left
        wanted = gradient + self._alpha * left
        if not np.isfinite(wanted).all():
            return b""
        self._step += 1
        content = self._quantizer.encoded(wanted, np.random.default_rng([self._seed, rank, self._step]))
        left *= self._beta
        left += gradient
        left -= self._quantizer.decoded(content, gradient.size)
        self.left = left
        return content


def _rows(values: np.ndarray, bucket: int) -> np.ndarray:
    padded = np.zeros(-(-values.size // bucket) * bucket, np.float32)
    padded[: values.size] = values
    return padded.reshape(-1, bucket)


def _scales(largest: np.ndarray) -> tuple[np.float32, np.ndarray]:
    """The largest of all, and the shares of it that are at least each one, float16.

    A share that was rounded down would make the rounding of its bucket's largest value biased.
    """
    common = np.float32(largest.max(initial=0.0))
    exact = _quotients(largest, common)
    shares = exact.astype(np.float16)
    return common, np.where(shares < exact, np.nextafter(shares, np.float16(np.inf)), shares)


def _quotients(values: np.ndarray, scale: np.ndarray | np.float32) -> np.ndarray:
    """values / scale; 0 where the scale is."""
    return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
