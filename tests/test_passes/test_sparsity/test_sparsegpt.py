"""SparseGPT: the zeros that were asked for, and less lost than by zeroing alone."""

import numpy as np
import pytest

from pfir.passes.sparsity.patterns import parse_pattern
from pfir.passes.sparsity.sparsegpt import BLOCK, sparsegpt
from tests.support.net import random
from tests.test_passes.test_sparsity.tasks import energy, gram


@pytest.mark.parametrize("text", ["unstructured", "2:4", "1x4", "4x1", "channel-vectors"])
def test_it_loses_less_than_the_same_share_by_magnitude(text):
    weight, moments, pattern = random(8, 32).astype(np.float64), gram(32), parse_pattern(text)
    found = sparsegpt(weight, moments, pattern, 4, 0.5)
    assert np.mean(found == 0) == 0.5
    plain = weight * pattern.keep(np.square(weight), 4, 0.5)
    assert energy(found - weight, moments) < 0.9 * energy(plain - weight, moments)


def test_changes_reach_the_features_of_later_blocks():
    features = 2 * BLOCK
    weight, moments = random(4, features).astype(np.float64), gram(features)
    alone = sparsegpt(weight[:, :BLOCK], moments[:BLOCK, :BLOCK], parse_pattern("unstructured"), 1, 0.5)
    found = sparsegpt(weight, moments, parse_pattern("unstructured"), 1, 0.5)
    kept = found[:, BLOCK:] != 0
    assert np.mean(found == 0) == 0.5 and np.mean(alone == 0) == 0.5
    assert np.abs(found[:, BLOCK:] - weight[:, BLOCK:])[kept].min() > 0


def test_no_share_changes_nothing():
    weight = random(4, 12).astype(np.float64)
    assert np.array_equal(sparsegpt(weight, gram(12), parse_pattern("unstructured"), 1, 0.0), weight)
