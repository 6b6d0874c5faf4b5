"""Weights decay; biases, norms and slopes do not, whatever their shape."""

import numpy as np

from pfir.train.flat import FlatBuffer
from pfir.train.optimizing.decay import decay_of
from tests.support.net import Net


def decayed(model):
    buffer = FlatBuffer({name: t.values for name, t in model.initializers().items() if t.values.dtype == np.float32})
    decay = FlatBuffer(buffer.views)
    decay.flat[:] = decay_of(model, buffer, 0.5)
    return {name for name, view in decay.views.items() if (view == 0.5).all()}, decay


def test_only_the_weights_of_layers_decay():
    net = Net(0)
    x = net.op(
        "PRelu",
        net.norm(net.conv(net.input("N", 3, 8, 8), 3, 4), 4),
        slope := net.const(np.ones((4, 1, 1), np.float32)),
    )
    model = net.model((net.head(x, 4),))
    names, decay = decayed(model)
    shapes = {name: view.ndim for name, view in decay.views.items()}
    assert slope not in names and shapes[slope] == 3
    assert names and names == {n for n, axes in shapes.items() if axes >= 2} - {slope}
    assert all((view == 0).all() for name, view in decay.views.items() if name not in names)


def test_biases_with_two_axes_do_not_decay():
    net = Net(0)
    weight, bias = net.const(np.ones((4, 3), np.float32)), net.const(np.ones((1, 3), np.float32))
    model = net.model((net.op("Add", net.op("MatMul", net.input("N", 4), weight), bias),))
    assert decayed(model)[0] == {weight}
