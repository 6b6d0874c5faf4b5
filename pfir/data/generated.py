"""Inputs made up where no data is given: 1/f images and signals, token ids, each from its own seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from pfir.artifact import TensorSpec, whole_inputs
from pfir.data.base import Dataset
from pfir.data.kept import KeptDataset
from pfir.data.origin import Generated
from pfir.errors import UsageError

# Shares of the variance: natural images differ from one another in brightness, and their colours go together.
_BETWEEN_SAMPLES = 0.25
_COMMON_TO_CHANNELS = 0.8
BANK = 128
"""Samples that all later turns are blended from: two at a time, each moved, they make new ones without end."""


@dataclass(frozen=True)
class Range:
    """What an input's values are like.

    Args:
        mean, std: Per channel, or one number for all.
        low, high: Bounds, both included.
        ids: What an integer input holds: ids, drawn uniformly from the bounds; or else levels, made like the values of
            a float input and rounded.

    Raises:
        UsageError: low > high, or a standard deviation is negative.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    low: float = -np.inf
    high: float = np.inf
    ids: bool = True

    def __post_init__(self) -> None:
        # Plain floats, so that fingerprints do not depend on NumPy's way to print its own.
        object.__setattr__(self, "mean", tuple(float(v) for v in np.ravel(self.mean)))
        object.__setattr__(self, "std", tuple(float(v) for v in np.ravel(self.std)))
        if self.low > self.high:
            raise UsageError(f"range of an input: low {self.low} is above high {self.high}")
        if min(self.std) < 0:
            raise UsageError(f"range of an input: standard deviation {min(self.std)} is negative")


def generated(
    inputs: Sequence[TensorSpec],
    count: int,
    seed: int = 0,
    ranges: Mapping[str, Range] | None = None,
    whole: Collection[str] | None = None,
) -> Dataset:
    """`count` samples for these inputs, the same for the same seed; made when asked for, by index, and
    kept in memory up to a bound.

    Float inputs [N, C, *k] and [N, *k, C] get Gaussian fields whose amplitude falls as 1/f over the axes k, inputs
    [N, F] a 1/f signal along F: by default with mean 0 and variance 1 per channel. Integer inputs get ids from
    [low, high] of their range, [0, 1] by default; boolean ones true and false.

    Args:
        inputs: Every size after the first is a number.
        count: At least 1.
        ranges: By input name; an input that is not named has the default.
        whole: Inputs that hold no samples: each is made once, in its own shape, for all of them. By default those that
            `whole_inputs` finds.

    Raises:
        UsageError: A size is not fixed, the count is below 1, or a range has another number of channels.

    Source: Field, "Relations between the statistics of natural images and the response properties of cortical cells",
    JOSA A 4(12), 1987, for the 1/f amplitude.
    """
    if count < 1:
        raise UsageError(f"{count} generated samples asked for; at least 1 is needed")
    ranges, whole = dict(ranges or {}), whole_inputs(inputs) if whole is None else whole
    made = [_Maker(replace(s, shape=(1, *s.shape)) if s.name in whole else s, ranges.get(s.name)) for s in inputs]
    samples = KeptDataset(_Generated(tuple(m for m in made if m.spec.name not in whole), count, seed))
    alone = {m.spec.name: _once(m, seed, place) for place, m in enumerate(made) if m.spec.name in whole}
    made_up = _Accompanied(samples, alone) if alone else samples
    said = {name: asdict(given) for name, given in ranges.items()}
    made_up.origin = Generated(tuple(inputs), count, seed, said, tuple(sorted(whole)))
    return made_up


def _once(maker: _Maker, seed: int, place: int) -> np.ndarray:
    return np.asarray(maker.sample(np.random.default_rng([seed, place, 0, 2])))


class _Accompanied(Dataset):
    """Samples with inputs beside them that are the same for all."""

    def __init__(self, samples: Dataset, alone: Mapping[str, np.ndarray]) -> None:
        self._samples, self._alone = samples, dict(alone)
        self.inputs = (*samples.inputs, *alone)
        self.labels, self.kind, self.notes = samples.labels, samples.kind, samples.notes
        self.targets = samples.targets

    def __len__(self) -> int:
        return len(self._samples)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {**self._samples.batch(indices), **self._alone}

    def anew(self, turn: int) -> Dataset:
        return _Accompanied(self._samples.anew(turn), self._alone) if turn else self

    def fingerprint(self) -> str:
        found = hashlib.sha256(self._samples.fingerprint().encode())
        for name, x in self._alone.items():
            found.update(repr((name, x.dtype.name, x.shape)).encode() + x.tobytes())
        return found.hexdigest()


class _Generated(Dataset):
    kind = "generated"
    labels = None

    def __init__(self, makers: tuple[_Maker, ...], count: int, seed: int, *more: int) -> None:
        self._makers, self._count, self._seeds = makers, count, (seed, more)
        self._bank: Dataset | None = None
        self.inputs = tuple(maker.spec.name for maker in makers)

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {
            maker.spec.name: np.stack([maker.sample(self._rng(place, index)) for index in indices])
            for place, maker in enumerate(self._makers)
        }

    def anew(self, turn: int) -> Dataset:
        if not turn:
            return self
        if self._bank is None:
            self._bank = KeptDataset(_Generated(self._makers, BANK, self._seeds[0], 0, 1))
        return _Blended(self._makers, self._count, self._bank, self._seeds[0], turn)

    def fingerprint(self) -> str:
        seed, more = self._seeds
        text = repr((self._count, seed, *more, [(m.spec.name, m.spec.dtype, m.shape, m.range) for m in self._makers]))
        return hashlib.sha256(text.encode()).hexdigest()

    def _rng(self, place: int, index: int) -> np.random.Generator:
        if not 0 <= index < self._count:
            raise IndexError(f"sample {index} of {self._count}")
        seed, more = self._seeds
        return np.random.default_rng([seed, place, int(index), *more])


class _Blended(_Generated):
    """Each sample from two of a bank, an order of magnitude faster than from noise."""

    def __init__(self, makers: tuple[_Maker, ...], count: int, bank: Dataset, seed: int, turn: int) -> None:
        super().__init__(makers, count, seed, turn)
        self._bank = self._sources = bank

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {
            maker.spec.name: np.stack([self._blend(maker, self._rng(place, index)) for index in indices])
            for place, maker in enumerate(self._makers)
        }

    def _blend(self, maker: _Maker, rng: np.random.Generator) -> np.ndarray:
        return maker.blend(rng, *self._sources.batch(rng.integers(len(self._sources), size=2))[maker.spec.name])


class _Maker:
    """Makes the samples of one input."""

    def __init__(self, spec: TensorSpec, given: Range | None) -> None:
        sizes = tuple(n for n in spec.shape[1:] if isinstance(n, int) and n >= 1)
        if len(sizes) < len(spec.shape[1:]):
            raise UsageError(f"input {spec.name} is {list(spec.shape)}: fix its sizes with --input-shape")
        self.spec = spec
        self.range = given or Range()
        self.shape = sizes
        self._axis = channel_axis(self.shape)
        self._channels = 1 if self._axis is None else self.shape[self._axis]
        for values in (self.range.mean, self.range.std):
            if len(values) not in (1, self._channels):
                raise UsageError(f"input {spec.name} has {self._channels} channels, its range has {len(values)}")

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        kind = np.dtype(self.spec.dtype).kind
        if kind == "b":
            return rng.random(self.shape) < 0.5
        if kind in "iu" and self.range.ids:
            return self._ids(rng).astype(self.spec.dtype)
        return self._typed(self._scaled(self._field(rng)))

    def blend(self, rng: np.random.Generator, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """A sample with the mean, variance and spectrum of these two; ids and truth values are drawn anew.

        Fields made by a Fourier transform go on around their edges, so a moved one is another; and the sum of two
        Gaussian ones, weighted by the cosine and sine of an angle, is distributed as each of them.
        """
        kind = np.dtype(self.spec.dtype).kind
        if kind == "b" or (kind in "iu" and self.range.ids):
            return self.sample(rng)
        angle, mean = rng.uniform(0, 2 * np.pi), self._along_channels(self.range.mean)
        weights = math.cos(angle), math.sin(angle)  # of Python, so that float32 stays float32
        field = sum(w * (self._moved(rng, x) - mean) for w, x in zip(weights, (one, other), strict=True))
        return self._typed(np.clip(field + mean, self.range.low, self.range.high))

    def _moved(self, rng: np.random.Generator, sample: np.ndarray) -> np.ndarray:
        axes = tuple(i for i in range(sample.ndim) if i != self._axis)
        return np.roll(sample, [rng.integers(sample.shape[i]) for i in axes], axes).astype(np.float32)

    def _along_channels(self, values: tuple[float, ...]) -> np.ndarray:
        """float32, of the rank of a sample."""
        shape = [1] * len(self.shape)
        if self._axis is not None:
            shape[self._axis] = len(values)
        return np.reshape(np.asarray(values, np.float32), shape)

    def _typed(self, values: np.ndarray) -> np.ndarray:
        if np.dtype(self.spec.dtype).kind not in "iu":
            return values.astype(self.spec.dtype)
        limits = np.iinfo(self.spec.dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(self.spec.dtype)

    def _ids(self, rng: np.random.Generator) -> np.ndarray:
        low = int(self.range.low) if np.isfinite(self.range.low) else 0
        high = int(self.range.high) if np.isfinite(self.range.high) else low + 1
        return rng.integers(low, high, self.shape, endpoint=True)

    def _field(self, rng: np.random.Generator) -> np.ndarray:
        """[C, *k] of mean 0 and variance 1 over many samples."""
        plane = self.shape if self._axis is None else (*self.shape[: self._axis], *self.shape[self._axis + 1 :])
        common, own = _one_over_f(rng, (1, *plane)), _one_over_f(rng, (self._channels, *plane))
        share = _COMMON_TO_CHANNELS if self._channels > 1 else 0.0
        within = np.sqrt(share) * common + np.sqrt(1 - share) * own
        return np.sqrt(_BETWEEN_SAMPLES) * rng.standard_normal() + np.sqrt(1 - _BETWEEN_SAMPLES) * within

    def _scaled(self, field: np.ndarray) -> np.ndarray:
        per_channel = (-1, *(1 for _ in field.shape[1:]))
        mean, std = (np.reshape(values, per_channel) for values in (self.range.mean, self.range.std))
        values = np.clip(field * std + mean, self.range.low, self.range.high)
        return values[0] if self._axis is None else np.moveaxis(values, 0, self._axis)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Of a sample: the smaller of its first and last axes, the first if equal; None for a single axis."""
    if len(shape) < 2:
        return None
    return len(shape) - 1 if shape[-1] < shape[0] else 0


def _one_over_f(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Gaussian fields [C, *k], each of variance 1, whose amplitude falls as one over the frequency along the axes k."""
    noise = rng.standard_normal(shape)
    if noise[0].size < 4:
        return noise
    axes = tuple(range(1, len(shape)))
    steps = [np.fft.fftfreq(n) for n in shape[1:-1]] + [np.fft.rfftfreq(shape[-1])]
    frequency = np.sqrt(sum(np.square(f) for f in np.meshgrid(*steps, indexing="ij")))
    frequency.flat[0] = np.inf  # no constant part
    field = np.fft.irfftn(np.fft.rfftn(noise, axes=axes) / frequency, s=shape[1:], axes=axes)
    return field / np.maximum(field.std(axis=axes, keepdims=True), 1e-12)
