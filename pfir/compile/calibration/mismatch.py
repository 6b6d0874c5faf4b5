"""Why a classifier may be wrong on data: inputs of another scale, channels or classes in another order, labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pfir.run.answers import Answers, Feeds, bounds

Change = Callable[[np.ndarray], np.ndarray]
Again = Callable[[Callable[[Feeds], Feeds] | None], Answers | None]

_ADVICE = "give them so: raw images by --preprocess, others in the file"
GAIN = 0.1
"""A cause counts as found where undoing it gives so much more accuracy, beyond what chance explains."""
AS_GOOD = 0.03
"""Of causes whose undoing helps nearly alike, the one that is said more simply, and so comes first, is told."""
TOP = 1.5
"""Images are in 0..1 or -1..1 where no value lies beyond it, else in 0..255 or standardised."""
SHOWN_CLASSES = 4
ONE_CLASS = 0.5
"""Answers that are mostly one class, with labels that are not, point to inputs that saturate the network."""
ALIKE = 0.25
"""Answers spread over the classes as the labels are, but for this share, come from inputs that mean something to it."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's, of ImageNet


@dataclass(frozen=True)
class Cause:
    """An explanation with the accuracy that undoing it gives.

    Args:
        accuracy: In [0, 1].
        text: What seems to be wrong, and what to do.
    """

    accuracy: float
    text: str


def explanation(found: Answers, again: Again, sample: Feeds) -> tuple[str, bool]:
    """The likeliest reason in words, and whether undoing it makes the model right.

    Args:
        found: The answers that are doubted.
        again: Asks again, with changed inputs, on some of the samples.
        sample: Some of the inputs.
    """
    causes = [*_inputs_changed(again, sample), *_classes_changed(found)]
    if causes:
        most = max(cause.accuracy for cause in causes)
        return next(cause.text for cause in causes if cause.accuracy >= most - AS_GOOD), True
    return _guess(found, sample), False


def _inputs_changed(again: Again, sample: Feeds) -> Iterator[Cause]:
    """Changes of the inputs that help."""
    if len(sample) != 1:
        return
    ((name, x),) = sample.items()
    changes = list(_changes(x))
    now = again(None) if changes else None
    for text, change in changes:
        then = again(lambda feeds, change=change: {name: _like(change(feeds[name]), x)})
        if now is not None and then is not None and _helps(then.hits, then.count, now.hits, now.count):
            yield Cause(then.accuracy, f"with {text} it is right on {_percent(then.accuracy)}: {_ADVICE}")


def _changes(x: np.ndarray) -> Iterator[tuple[str, Change]]:
    """What is often forgotten or done twice, as words and functions of a batch; what says least comes last."""
    if x.dtype.kind != "f" or not x.size:
        return
    low, high = x.min(), x.max()
    if low >= 0 and high > TOP:
        yield "the inputs divided by 255 (scale=1/255)", lambda v: v / 255
        yield "the inputs brought from 0..255 to -1..1 (scale=1/127.5,mean=1)", lambda v: v / 127.5 - 1
    elif low >= 0:
        yield "the inputs multiplied by 255", lambda v: v * 255
        yield "the inputs brought from 0..1 to -1..1 (2 x - 1)", lambda v: 2 * v - 1
    elif low >= -TOP and high <= TOP:
        yield "the inputs brought from -1..1 to 0..1 ((x + 1) / 2)", lambda v: (v + 1) / 2
        yield "the inputs brought from -1..1 to 0..255 ((x + 1) * 127.5)", lambda v: (v + 1) * 127.5
    axis = _channel_axis(x)
    if x.ndim == 4 and x.shape[axis] == 3:
        yield from _colours(x, axis)
        yield from _orders(x, axis)
    rest = tuple(i for i in range(x.ndim) if i != axis)
    mean, std = x.mean(rest, keepdims=True), np.maximum(x.std(rest, keepdims=True), 1e-6)
    yield "the inputs less their mean, divided by their standard deviation", lambda v: (v - mean) / std


def _colours(x: np.ndarray, axis: int) -> Iterator[tuple[str, Change]]:
    """ImageNet's mean and standard deviation, left out or applied where they should not be."""
    mean, std = (np.reshape(v, [3 if i == axis else 1 for i in range(4)]) for v in (_MEAN, _STD))
    if x.min() < 0:
        yield "ImageNet's mean and deviation taken out of the inputs", lambda v: v * std + mean
    elif x.max() > TOP:
        yield (
            "the inputs divided by 255, less ImageNet's mean, over its deviation (imagenet)",
            lambda v: (v / 255 - mean) / std,
        )
    else:
        yield "the inputs less ImageNet's mean, over its deviation", lambda v: (v - mean) / std


def _orders(x: np.ndarray, axis: int) -> Iterator[tuple[str, Change]]:
    """Images with their axes or channels in other orders."""
    yield "red and blue swapped (RGB for BGR)", lambda v: np.flip(v, axis)
    height, width = (i for i in (1, 2, 3) if i != axis)
    if x.shape[height] == x.shape[width]:
        yield "rows and columns swapped", lambda v: v.swapaxes(height, width)
    # An image [H, W, C] that was reshaped to [C, H, W], or the other way, instead of transposed.
    if axis == 1:
        last = (x.shape[2], x.shape[3], 3)
        yield "the channels transposed rather than reshaped", lambda v: v.reshape(-1, *last).transpose(0, 3, 1, 2)
    else:
        first = (3, x.shape[1], x.shape[2])
        yield "the channels transposed rather than reshaped", lambda v: v.reshape(-1, *first).transpose(0, 2, 3, 1)


def _classes_changed(found: Answers) -> Iterator[Cause]:
    """Other orders of the classes that help: all moved by one, or any, learnt on one half and tried on the other."""
    for step, done in ((1, "added to"), (-1, "taken from")):
        hits = int((found.labels + step == found.given).sum())
        if _helps(hits, found.count, found.hits, found.count):
            right = f"with 1 {done} each label it is right on {_percent(hits / found.count)}"
            yield Cause(hits / found.count, f"{right}: the model counts its classes otherwise, shift the labels")
    half = np.arange(found.count) % 2 == 0
    hits = _hits_of_learnt(found, half) + _hits_of_learnt(found, ~half)
    if _helps(hits, found.count, found.hits, found.count):
        yield Cause(hits / found.count, _other_order(found, hits / found.count))


def _hits_of_learnt(found: Answers, half: np.ndarray) -> int:
    """How many answers of the other half are right in the order that this half shows."""
    return int((_learnt(found, half)[found.labels[~half]] == found.given[~half]).sum())


def _learnt(found: Answers, half: np.ndarray) -> np.ndarray:
    """The answer that goes with each label, [K]: each answer once, frequent pairs first; -1 where none is left."""
    pairs, counts = np.unique(np.stack([found.labels[half], found.given[half]]), axis=1, return_counts=True)
    order, taken = np.full(found.classes, -1), set()
    for label, answer in pairs[:, np.argsort(-counts, kind="stable")].T:
        if order[label] < 0 and answer not in taken:
            order[label] = answer
            taken.add(answer)
    return order


def _other_order(found: Answers, share: float) -> str:
    order = _learnt(found, np.ones(found.count, bool))
    moved = [f"{label} is its {order[label]}" for label in np.flatnonzero(order >= 0) if order[label] != label]
    shown = ", ".join(moved[:SHOWN_CLASSES]) + (", .." if moved[SHOWN_CLASSES:] else "")
    return (
        f"the classes are in another order than the model's: with label {shown} it is right on {_percent(share)}; "
        "--classes FILE gives the order for folders of images, elsewhere renumber the labels"
    )


def _helps(hits: int, count: int, before: int, count_before: int) -> bool:
    return bounds(hits, count)[0] > bounds(before, count_before)[1] + GAIN


def _guess(found: Answers, sample: Feeds) -> str:
    """The likely reason where nothing that was tried makes the model right."""
    ranges = ", ".join(f"{name} from {x.min() + 0.0:g} to {x.max() + 0.0:g}" for name, x in sample.items() if x.size)
    answers, labels = found.share_of_answers(), found.share_of_labels()
    if answers.max() > ONE_CLASS and labels.max() < ONE_CLASS / 2 + answers.max() / 2:
        return (
            f"it answers {_percent(float(answers.max()))} of them with class {answers.argmax()}, so the inputs are "
            f"likely scaled or laid out in another way than in its training ({ranges}; see --preprocess)"
        )
    apart = float(np.abs(answers - labels).sum() / 2)
    if found.classes > 2 and apart < ALIKE and found.confidence > ONE_CLASS:
        return (
            "its answers are spread over the classes as the labels are, so the labels are likely shuffled, or those of "
            "other samples; compare a few by eye"
        )
    return (
        f"likely reasons: the scale of the inputs ({ranges}; see --preprocess), the order of classes (--classes) or "
        "channels, labels of other samples, or a model that was not trained for this"
    )


def _channel_axis(x: np.ndarray) -> int:
    return x.ndim - 1 if x.ndim == 4 and x.shape[1] not in (1, 3, 4) else min(1, x.ndim - 1)


def _like(x: np.ndarray, sample: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, sample.dtype)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
