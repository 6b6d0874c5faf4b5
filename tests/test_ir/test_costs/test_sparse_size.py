"""Bytes without zeros: a bit for each place and the rest, never more than dense."""

import numpy as np

from pfir.ir.costs.model_cost import model_cost
from pfir.ir.costs.sparse_size import bitmap_bytes, sparse_size_bytes
from tests.support.net import parsed, random


def product(weight):
    return parsed("net (float[N,16] x) => (float[N,8] y) { y = MatMul(x, w) }", w=weight)


def test_a_dense_model_takes_what_it_takes():
    net = product(random(16, 8))
    assert sparse_size_bytes(net) == model_cost(net).size_bytes == 16 * 8 * 4


def test_of_zeros_only_a_bit_each_is_left():
    weight = random(16, 8)
    weight[:, 2:] = 0
    assert sparse_size_bytes(product(weight)) == 16 + 16 * 2 * 4


def test_few_zeros_are_not_worth_a_bit_for_each_place():
    weight = random(16, 8)
    weight[0, 0] = 0
    assert sparse_size_bytes(product(weight)) == 16 * 8 * 4


def test_integers_are_zero_where_they_stand_for_zero():
    net = """net (float[N,16] x) => (float[N,8] y) {
        w = DequantizeLinear <axis = 1> (q, s, z)
        y = MatMul(x, w)
    }"""
    integers = np.full((16, 8), 3, np.int8)
    integers[:12] = 5
    numbers = {"s": np.ones(8, np.float32), "z": np.full(8, 5, np.int8)}
    assert sparse_size_bytes(parsed(net, q=integers, **numbers)) == 16 + 4 * 8 + 8 * 4 + 8


def test_bits_are_rounded_up_to_bytes():
    assert bitmap_bytes(9, 3, 4) == 2 + 2
