import numpy as np
import pytest
import zstandard

from pfir.errors import FrontendError
from pfir.packing import codecs

RNG = np.random.default_rng(0)
CONTENTS = {
    codecs.STORED: RNG.bytes(4000),
    codecs.ZSTD: b"pfir " * 1000,
    codecs.RANS: RNG.choice(3, 300_000, p=(0.8, 0.15, 0.05)).astype(np.uint8).tobytes(),
}


@pytest.mark.parametrize("codec", CONTENTS)
def test_each_codec_is_chosen_where_it_is_smallest_and_gives_the_content_back(codec):
    content = CONTENTS[codec]
    chosen, packed = codecs.compress(content, symbols=True)
    assert chosen == codec and codecs.decompress(codec, packed, len(content)) == content
    assert len(packed) == pytest.approx(codecs.estimated_size(content, symbols=True), rel=0.3)


def test_bytes_that_are_no_symbols_are_never_coded_by_rans():
    assert codecs.compress(CONTENTS[codecs.RANS], symbols=False)[0] == codecs.ZSTD


def test_nothing_takes_nothing():
    assert codecs.estimated_size(b"", symbols=True) == 0


@pytest.mark.parametrize("codec", (*CONTENTS, "lzma"))
@pytest.mark.parametrize("more", (-1, 1))
def test_content_of_another_size_than_expected_is_refused(codec, more):
    content = CONTENTS.get(codec, b"x" * 64)
    packed = codecs.compress(content, symbols=True)[1]
    with pytest.raises(FrontendError, match="damaged"):
        codecs.decompress(codec, packed, len(content) + more * 1024)


def test_a_frame_that_tells_a_large_size_is_refused_before_it_is_expanded():
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    with pytest.raises(FrontendError, match="a stream of 100 bytes is damaged"):
        codecs.decompress(codecs.ZSTD, bomb, 100)


def test_frames_that_tell_no_size_break_off_or_go_on_are_refused():
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    whole = codecs.zstd(b"pfir" * 25)
    for packed in (silent, whole[:-3], whole + whole, b"", whole[:10] + b"\xff" * 8):
        with pytest.raises(FrontendError, match="damaged"):
            codecs.decompress(codecs.ZSTD, packed, 100)
