"""Batches for training: order, augmentation and mixing follow from seed and step alone, and are prepared ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from pfir.data.base import Dataset
from pfir.train.distributed.share import WHOLE, Share
from pfir.train.feeding.augment import View, draw, flip_crop
from pfir.train.feeding.mixing import Mixing, Mixture, draw_mixture, mixed, own_shares

Arrays = dict[str, np.ndarray]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Feeder:
    """Where batches come from.

    Args:
        data: The samples.
        batch: Samples a step; a smaller data set is repeated to fill one.
        seed: Of order and augmentation.
        augment: `none` or `flip-crop`, which moves and mirrors every input of rank 4.
        views: How many views of each sample there are, epoch after epoch in turn; None for a new one every epoch.
        renew: Whether every epoch has other samples, where the data can make some (`Dataset.anew`).
        mixing: How each sample is mixed with another one, which is a part of its view.
        share: The part of every batch that is wanted.
    """

    data: Dataset
    batch: int
    seed: int
    augment: str = "none"
    views: int | None = None
    renew: bool = False
    mixing: Mixing = Mixing()
    share: Share = WHOLE

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.data) // self.batch)

    def indices(self, step: int) -> np.ndarray:
        """The share's samples of a step, counted over all epochs."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.data))
        order = np.resize(order, max(len(order), self.batch))
        return self.share.of(order[at * self.batch : (at + 1) * self.batch])

    def arrays(self, step: int) -> Arrays:
        """The inputs of a step."""
        indices = self.indices(step)
        arrays = self._seen(step, indices)
        if not self.mixing:
            return arrays
        mixture = self._mixture(step).of(indices)
        return mixed(arrays, self._seen(step, mixture.partners), mixture)

    def view(self, step: int) -> int:
        """Which view of its samples a step sees, from 0; always 0 where they are neither augmented nor mixed."""
        epoch = step // self.steps_per_epoch
        if self.augment == "none" and not self.mixing:
            return 0
        return epoch % self.views if self.views else epoch

    def labels(self, step: int) -> np.ndarray:
        """The labels of a step's samples."""
        return np.asarray(self.data.labels)[self.indices(step)]

    def second_labels(self, step: int, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
        """The labels of what a step's samples are mixed with, and the share of each that is itself, float32 [N].

        Args:
            arrays: The inputs of the step.
        """
        mixture = self._mixture(step).of(self.indices(step))
        return np.asarray(self.data.labels)[mixture.partners], own_shares(arrays, mixture)

    def _seen(self, step: int, indices: np.ndarray) -> Arrays:
        """Some samples as a step sees them before any are mixed."""
        data = self.data.anew(step // self.steps_per_epoch) if self.renew else self.data
        arrays = data.batch(indices)
        if self.augment == "none":
            return arrays
        view = _view(self.seed, self.view(step), len(self.data)).of(indices)
        return {n: flip_crop(x, view) if x.ndim == 4 else x for n, x in arrays.items()}

    def _mixture(self, step: int) -> Mixture:
        return _mixture(self.seed, self.view(step), len(self.data), self.mixing)


@lru_cache(maxsize=2)
def _view(seed: int, number: int, count: int) -> View:
    return draw(np.random.default_rng([seed, 1, number]), count)


@lru_cache(maxsize=2)
def _mixture(seed: int, number: int, count: int, mixing: Mixing) -> Mixture:
    return draw_mixture(np.random.default_rng([seed, 2, number]), count, mixing)


def ahead(make: Callable[[int], Made], first: int, last: int, depth: int = 2) -> Generator[Made]:
    """make(first), ..., make(last - 1), each made in a second thread while the one before is used.

    What `make` raises is raised here, at its turn. The thread ends when the iterator is closed.
    """
    made: queue.Queue = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(make, first, last, made, stop), daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            item, error = made.get()
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()


def _produce(make: Callable[[int], object], first: int, last: int, made: queue.Queue, stop: threading.Event) -> None:
    for step in range(first, last):
        try:
            entry: tuple[object, Exception | None] = (make(step), None)
        except Exception as error:  # handed to the consumer, which raises it
            entry = (None, error)
        while not stop.is_set():
            try:
                made.put(entry, timeout=0.1)
                break
            except queue.Full:
                continue
        if stop.is_set() or entry[1] is not None:
            return
