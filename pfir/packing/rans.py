"""Asymmetric numeral systems: bytes coded at nearly their entropy, many interleaved states at a time.

The content is cut into blocks, each with a table of frequencies of its own, and blocks into runs; each run has a state,
and the states of all runs take one step after the other together, as vectors.

Source: Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of
arithmetic coding", 2013, arXiv:1311.2540; Giesen, "Interleaved entropy coders", 2014, arXiv:1402.3392, for the states
that share one stream.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from pfir.errors import FrontendError

BITS = 12
"""Frequencies of a table sum to 2 ** BITS."""
_WHOLE = 1 << BITS
_SYMBOL_BITS = 8
_LOWEST = 1 << 16
_HEADER = struct.Struct("<BBI")  # log2 of the run, log2 of a block's runs, 16-bit words
_RUN_BITS = range(6, 11)
_RUN_BYTES = 3
"""What a run takes beyond its entropy: a state begins with 16 bits that say nothing, and ends half full."""
_MOST_RUNS_BITS = 24
_BLOCK_BITS = (16, 18, 20)
"""Blocks that are tried: small ones follow changes from layer to layer, large ones save tables."""


def encode(content: bytes) -> bytes:
    """The content, coded; `decode` gives it back. Not for empty content."""
    symbols = np.frombuffer(content, np.uint8)
    run_bits = _run_bits(len(symbols))
    return _encoded(symbols, run_bits, max(_best_block_bits(symbols) - run_bits, 0))


def estimated_size(content: bytes) -> int:
    """About how many bytes `encode` gives. Not for empty content."""
    symbols = np.frombuffer(content, np.uint8)
    blocks = min(round(_estimated(symbols, bits)) for bits in _BLOCK_BITS)
    return blocks + _RUN_BYTES * _cut(len(symbols), _run_bits(len(symbols)))


def decode(coded: bytes, size: int) -> bytes:
    """The content of this size.

    Raises:
        FrontendError: The code is none of content of this size.
    """
    run_bits, runs_bits, words, tables, runs = _parts(coded, size)
    slots = _slots(tables)
    row = (np.arange(runs) >> runs_bits) << BITS
    states, taken = words[: 2 * runs].view("<u4").copy(), 2 * runs
    out = np.empty((1 << run_bits, runs), np.uint8)
    slot, entry, frequency = np.empty(runs, np.int64), np.empty(runs, np.uint32), np.empty(runs, np.uint32)
    # In place throughout: new arrays take half of the time.
    for line in out:
        np.bitwise_and(states, _WHOLE - 1, out=slot)
        slot += row
        np.take(slots, slot, out=entry, mode="clip")
        line[:] = entry
        np.right_shift(entry, _SYMBOL_BITS, out=frequency)
        frequency &= _WHOLE - 1
        frequency += 1
        states >>= BITS
        states *= frequency
        entry >>= _SYMBOL_BITS + BITS
        states += entry
        taken += _refill(states, words[taken:])
    if taken != len(words) or (states != _LOWEST).any():
        raise _WRONG
    return out.T.reshape(-1)[:size].tobytes()


def _refill(states: np.ndarray, words: np.ndarray) -> int:
    """Give 16 bits to each state that has become small, and say how many were."""
    low = np.flatnonzero(states < _LOWEST)
    if len(low) > len(words):
        raise _WRONG
    filled = states[low]
    filled <<= 16
    filled |= words[: len(low)]
    states[low] = filled
    return len(low)


def _parts(coded: bytes, size: int) -> tuple[int, int, np.ndarray, np.ndarray, int]:
    """Run and block, the 16-bit words, the tables [T, 256] and how many runs there are, all lengths checked."""
    if len(coded) < _HEADER.size or size < 1:
        raise _WRONG
    run_bits, runs_bits, count = _HEADER.unpack_from(coded)
    if run_bits not in _RUN_BITS or runs_bits > _MOST_RUNS_BITS:
        raise _WRONG
    runs = _cut(size, run_bits)
    tables = _read_tables(coded, _HEADER.size, _cut(runs, runs_bits))
    begin = len(coded) - 2 * count
    if count < 2 * runs or begin != _HEADER.size + _table_bytes(tables):
        raise _WRONG
    return run_bits, runs_bits, np.frombuffer(coded, "<u2", count, begin), tables, runs


def _cut(size: int, bits: int) -> int:
    """How many parts of 2 ** bits there are, the last of which need not be full."""
    return (size + (1 << bits) - 1) >> bits


def _read_tables(coded: bytes, at: int, blocks: int) -> np.ndarray:
    """The tables [T, 256]: which symbols occur, a bit each, then the frequencies of those that do."""
    if len(coded) < at + 32 * blocks:
        raise _WRONG
    occurs = np.unpackbits(np.frombuffer(coded, np.uint8, 32 * blocks, at)).astype(bool)
    number = int(np.count_nonzero(occurs))
    if len(coded) < at + 32 * blocks + 2 * number:
        raise _WRONG
    flat = np.zeros(256 * blocks, np.uint32)
    flat[occurs] = np.frombuffer(coded, "<u2", number, at + 32 * blocks)
    tables = flat.reshape(blocks, 256)
    if (tables.sum(1) != _WHOLE).any():
        raise _WRONG
    return tables


def _written_tables(tables: np.ndarray) -> bytes:
    return np.packbits(tables > 0).tobytes() + tables[tables > 0].astype("<u2").tobytes()


def _table_bytes(tables: np.ndarray) -> int:
    return len(_written_tables(tables))


def _slots(tables: np.ndarray) -> np.ndarray:
    """What each slot of each table means, in one number: the symbol, its frequency less 1, the slot's place in it."""
    start = np.cumsum(tables, 1, dtype=np.uint32) - tables
    symbol = np.repeat(np.tile(np.arange(256, dtype=np.uint32), len(tables)), tables.reshape(-1))
    of_table = np.repeat(np.arange(len(tables)) * 256, _WHOLE) + symbol
    place = np.tile(np.arange(_WHOLE, dtype=np.uint32), len(tables)) - start.reshape(-1)[of_table]
    frequency = tables.reshape(-1)[of_table] - 1
    slots: np.ndarray = symbol | frequency << _SYMBOL_BITS | place << (_SYMBOL_BITS + BITS)
    return slots


def _encoded(symbols: np.ndarray, run_bits: int, runs_bits: int) -> bytes:
    runs, block_bits = _cut(len(symbols), run_bits), run_bits + runs_bits
    padded = np.pad(symbols, (0, (runs << run_bits) - len(symbols)), "edge")
    tables = np.stack([_table(padded[at : at + (1 << block_bits)]) for at in _starts(padded, block_bits)])
    words = _words(padded.reshape(runs, -1), tables, np.arange(runs) >> runs_bits)
    return _HEADER.pack(run_bits, runs_bits, len(words)) + _written_tables(tables) + words.tobytes()


def _run_bits(size: int) -> int:
    """As many runs as steps: more would cost bytes, longer ones time."""
    return min(max(round(math.log2(size) / 2), _RUN_BITS[0]), _RUN_BITS[-1])


def _best_block_bits(symbols: np.ndarray) -> int:
    return min(_BLOCK_BITS, key=lambda bits: _estimated(symbols, bits))


def _starts(symbols: np.ndarray, block_bits: int) -> range:
    return range(0, len(symbols), 1 << block_bits)


def _words(lines: np.ndarray, tables: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The last states of runs [R, steps], then what the states gave off, in the order in which decoding takes it."""
    start = np.cumsum(tables, 1) - tables
    states = np.full(len(lines), _LOWEST, np.int64)
    given: list[np.ndarray] = []
    for step in reversed(range(lines.shape[1])):
        symbol = lines[:, step]
        frequency = tables[table, symbol]
        full = states >= frequency << (32 - BITS)
        given.append((states[full] & 0xFFFF).astype("<u2"))
        states[full] >>= 16
        states = (states // frequency << BITS) + states % frequency + start[table, symbol]
    return np.concatenate([states.astype("<u4").view("<u2"), *reversed(given)])


def _table(symbols: np.ndarray) -> np.ndarray:
    """Frequencies [256] that sum to 2 ** BITS; those of symbols that occur are at least 1."""
    counts = np.bincount(symbols, minlength=256)
    table = np.where(counts > 0, np.maximum(counts * _WHOLE // len(symbols), 1), 0).astype(np.int64)
    while (excess := int(table.sum()) - _WHOLE) > 0:
        largest = int(table.argmax())
        table[largest] -= min(excess, max(int(table[largest]) // 2, 1))
    table[int(counts.argmax())] += -excess
    return table


def _estimated(symbols: np.ndarray, block_bits: int) -> float:
    """Bytes that blocks of this size take: their entropy and their tables, two bytes a symbol."""
    total = 0.0
    for at in _starts(symbols, block_bits):
        counts = np.bincount(symbols[at : at + (1 << block_bits)])
        counts = counts[counts > 0]
        total += 32 + 2 * len(counts) + float((counts * np.log2(counts.sum() / counts)).sum()) / 8
    return total


_WRONG = FrontendError("a part that is coded by rANS is damaged")
