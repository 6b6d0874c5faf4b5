"""Weights that are mostly zero, written without their zeros: ONNX's sparse initializers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper, numpy_helper

from pfir.ir.linear import linear_layers
from pfir.ir.model import Model
from pfir.ir.onnx_io.tensors import SparseInitializer
from pfir.passes.base import Change, Context, Pass

INDEX_BYTES = 8
"""Of the place of a value: ONNX asks for int64."""


@dataclass(frozen=True)
class StoreSparse(Pass):
    """Write weights as sparse initializers where a file is smaller so; the function stays, to the bit.

    Rewrite of a float32 weight of which more than two thirds are zero::

        initializer W [C, A, *k]     ->      sparse_initializer: values [V], their places [V]

    Weights are those of Conv, ConvTranspose, Gemm and MatMul in the main graph. It comes last: a pass that looks at a
    weight makes it dense again. ONNX Runtime makes it dense when it loads the model (measured: 1.19.2, 1.32.0), so that
    a run takes as long as before. A second run changes nothing.

    Source: ONNX IR specification, SparseTensorProto, for the linear form of places.
    """

    name: ClassVar[str] = "store-sparse"
    settled: ClassVar[bool] = False

    def apply(self, model: Model, context: Context) -> Change:
        del context
        weights = {id(weight): weight for weight in (layer.weight for layer in linear_layers(model)) if _is_own(weight)}
        found = [weight for weight in weights.values() if _is_smaller(weight.values)]
        before = sum(weight.values.nbytes for weight in found)
        after = sum((weight.values.itemsize + INDEX_BYTES) * np.count_nonzero(weight.values) for weight in found)
        for weight in found:
            weight._values = SparseInitializer(_sparse(weight.name, weight.values))
        return Change(bool(found), (f"{len(found)} weights are written sparse: {before} bytes -> {after}",))


def _is_own(weight: gs.Tensor) -> bool:
    """Whether it is an initializer of floats that is dense yet."""
    return isinstance(weight, gs.Constant) and isinstance(weight._values, np.ndarray) and weight.dtype == np.float32


def _is_smaller(values: np.ndarray) -> bool:
    """Whether values and places take fewer bytes than all values; negative zeros are values."""
    return int(np.count_nonzero(values.view(np.uint32))) * (values.itemsize + INDEX_BYTES) < values.nbytes


def _sparse(name: str, values: np.ndarray) -> onnx.SparseTensorProto:
    flat = np.ascontiguousarray(values).ravel()
    places = np.flatnonzero(flat.view(np.uint32)).astype(np.int64)
    tensors = numpy_helper.from_array(flat[places], name), numpy_helper.from_array(places, f"{name}_places")
    return helper.make_sparse_tensor(*tensors, list(values.shape))
