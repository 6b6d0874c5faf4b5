"""Patterns: exactly so many units go, the least of them, and nothing of a unit alone."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.passes.sparsity.patterns import Pattern, most, parse_pattern

PATTERNS = ("unstructured", "2:4", "1:4", "1x4", "4x1", "2x2", "channel-vectors")


def kept(text, share=0.5, outputs=8, channels=8, taps=9):
    scores = np.random.default_rng(0).random((outputs, channels * taps))
    return scores, parse_pattern(text).keep(scores, taps, share)


@pytest.mark.parametrize("text", PATTERNS)
def test_a_share_of_the_weights_goes(text):
    _, keep = kept(text)
    assert 1 - keep.mean() == (parse_pattern(text).sparsity or 0.5)


def test_of_every_four_channels_two_stay_at_each_tap_and_they_are_the_largest():
    scores, keep = kept("2:4")
    groups, stay = (x.reshape(8, 2, 4, 9) for x in (scores, keep))
    assert (stay.sum(2) == 2).all()
    assert (np.where(stay, groups, np.inf).min(2) > np.where(stay, 0, groups).max(2)).all()


@pytest.mark.parametrize(("text", "rows", "columns"), [("1x4", 1, 4), ("4x1", 4, 1), ("channel-vectors", 1, 9)])
def test_units_go_whole(text, rows, columns):
    _, keep = kept(text)
    blocks = keep.reshape(8 // rows, rows, 72 // columns, columns)
    assert (blocks.all((1, 3)) | ~blocks.any((1, 3))).all()


def test_the_least_units_go():
    scores, keep = kept("1x4", share=0.25)
    totals, stay = scores.reshape(8, 18, 4).sum(2), keep.reshape(8, 18, 4).all(2)
    assert totals[stay].min() > totals[~stay].max()


def test_units_are_spread_to_where_they_came_from():
    pattern, matrix = Pattern(2, 3), np.arange(24.0).reshape(4, 6)
    units = pattern.units(matrix, 1)
    assert np.array_equal(units[1, 0], [12, 13, 14, 18, 19, 20])
    assert np.array_equal(pattern.spread(units[:, :, 0], 1)[2:, :3], np.full((2, 3), 12))


def test_a_share_is_rounded_down_but_says_what_it_says():
    assert most(np.arange(10.0), 0.3).sum() == 7
    assert most(np.arange(10.0), 0.39).sum() == 7


@pytest.mark.parametrize(
    ("text", "outputs", "channels", "said"),
    [("4x1", 6, 8, "6 outputs"), ("2:4", 8, 6, "6 input channels"), ("1x4", 8, 5, "45 weights")],
)
def test_a_matrix_that_is_not_divided_is_refused(text, outputs, channels, said):
    assert parse_pattern(text).refusal(outputs, 9 * channels, 9).startswith(said)
    assert parse_pattern(text).refusal(8, 72, 9) == ""


@pytest.mark.parametrize("text", ["", "4:2", "0:4", "2:2", "0x4", "blocks", "2:4:8"])
def test_another_text_is_no_pattern(text):
    with pytest.raises(UsageError, match="it must be unstructured, channel-vectors, N:M"):
        parse_pattern(text)
