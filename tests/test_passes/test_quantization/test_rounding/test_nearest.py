import numpy as np

from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.quantization.grids import Grid
from pfir.passes.quantization.placement import layers_of, place
from pfir.passes.quantization.rounding.base import RoundingTask
from pfir.passes.quantization.rounding.nearest import nearest
from pfir.passes.quantization.weights import weight_grid
from tests.support.quantization import residual


def test_no_integer_lies_nearer_to_a_weight():
    net = residual()
    infer_shapes(net)
    layers = layers_of(net)
    grids = {name: weight_grid(layer, 4, True, False) for name, layer in layers.items()}
    placement = place(net)
    task = RoundingTask(net, placement, grids, dict.fromkeys(placement.tensors, Grid(1.0, 0)), Context())
    rounded = nearest(task)
    assert not rounded.activations and set(rounded.integers) == set(layers)
    for name, integers in rounded.integers.items():
        error = np.abs(grids[name].numbers(integers) - layers[name].weight)
        assert (error <= 0.5001 * grids[name].along(error.ndim)).all()
