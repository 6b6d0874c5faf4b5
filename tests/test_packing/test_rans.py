import numpy as np
import pytest

from pfir.errors import FrontendError
from pfir.packing import rans

SIZES = (1, 63, 64, 65, 5000, 70_000)
SHAPES = {"even": None, "skewed": (0.9, 0.05, 0.03, 0.02), "alone": (1.0,)}


def _content(size, shares, seed=0):
    rng = np.random.default_rng(seed)
    return rng.bytes(size) if shares is None else rng.choice(len(shares), size, p=shares).astype(np.uint8).tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shares", SHAPES.values(), ids=SHAPES)
def test_what_was_coded_comes_back(size, shares):
    content = _content(size, shares)
    assert rans.decode(rans.encode(content), size) == content


def test_blocks_with_other_frequencies_come_back():
    content = b"".join(_content(90_000, shares) for shares in SHAPES.values())
    assert rans.decode(rans.encode(content), len(content)) == content


def test_the_code_is_within_a_tenth_of_the_entropy():
    shares = np.array(SHAPES["skewed"])
    entropy = float((shares * np.log2(1 / shares)).sum()) / 8 * 400_000
    coded = len(rans.encode(_content(400_000, shares)))
    assert entropy < coded < 1.1 * entropy


def test_the_estimate_is_near_the_code():
    content = _content(200_000, SHAPES["skewed"])
    assert rans.estimated_size(content) == pytest.approx(len(rans.encode(content)), rel=0.05)


@pytest.mark.parametrize("size", (0, 200, 300 + 64, 10**9))
def test_a_code_of_another_size_is_refused(size):
    with pytest.raises(FrontendError, match="rANS"):
        rans.decode(rans.encode(_content(300, None)), size)


def test_every_damage_gives_a_refusal_or_other_content_of_the_same_size():
    content = _content(900, SHAPES["skewed"])
    coded = rans.encode(content)
    refused = 0
    for at in range(len(coded)):
        damaged = bytearray(coded)
        damaged[at] ^= 1 << at % 8
        try:
            assert len(rans.decode(bytes(damaged), 900)) == 900
        except FrontendError:
            refused += 1
    assert refused > 0.99 * len(coded)


@pytest.mark.parametrize("end", (0, 3, 20, 60, -1))
def test_a_truncated_code_is_refused(end):
    with pytest.raises(FrontendError, match="rANS"):
        rans.decode(rans.encode(_content(900, None))[:end], 900)
