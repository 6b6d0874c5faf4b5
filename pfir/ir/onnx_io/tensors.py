"""Tensors between ONNX's protobuf form and NumPy arrays, with every length checked before anything is allocated."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import SparseValues

from pfir.errors import FrontendError

LARGEST_TENSOR_BYTES = 1 << 32
_LARGEST_SIZES = 256

_PACKED_BITS = {
    "UINT4": 4,
    "INT4": 4,
    "FLOAT4E2M1": 4,
    "UINT2": 2,
    "INT2": 2,
    "FLOAT6E2M3": 6,
    "FLOAT6E3M2": 6,
}
_BITS = {getattr(TensorProto, name): bits for name, bits in _PACKED_BITS.items() if hasattr(TensorProto, name)}


@cache
def numpy_dtype(element: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type (bfloat16, float8 and int4 are those of ml_dtypes).

    Raises:
        FrontendError: ONNX has no such element type.
    """
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
    except KeyError:
        raise FrontendError(f"element type {element} is none that onnx {onnx.__version__} knows") from None


@cache
def element_type(dtype: object) -> int:
    """The ONNX element type of a NumPy dtype; an ONNX element type stands for itself."""
    if isinstance(dtype, int):
        return dtype
    given = np.dtype(dtype)
    return TensorProto.STRING if given.kind in "OUS" else onnx.helper.np_dtype_to_tensor_dtype(given)


def stored_bytes(element: int, count: int) -> int:
    """Bytes that `count` elements take in a file; strings count as one byte each, their true size being unknown."""
    if element == TensorProto.STRING:
        return count
    bits = _BITS.get(element, numpy_dtype(element).itemsize * 8)
    return (count * bits + 7) // 8


def check_size(what: str, element: int, dims: tuple[int, ...]) -> int:
    """The number of elements of a declared tensor.

    Raises:
        FrontendError: A size is negative, the element type is unknown, or it would take more than 4 GiB.
    """
    if any(size < 0 for size in dims):
        raise FrontendError(f"{what} declares the negative size {min(dims)} in its shape {list(dims)}")
    count = math.prod(dims)
    if (size := stored_bytes(element, count)) > LARGEST_TENSOR_BYTES:
        raise FrontendError(
            f"{what} declares the shape {list(dims)}, that is {size / 2**30:.3g} GiB; at most 4 GiB are allowed"
        )
    return count


_NO_SYMBOLS = frozenset(("?", "*", "-1", "none", "unknown", "dynamic"))


def symbol(text: str) -> str | None:
    """The name of a dynamic size; None for words that exporters write for any size that they do not know.

    Two sizes of one name are equal; two of which nothing is known need not be.
    """
    return text if text and text.strip().lower() not in _NO_SYMBOLS else None


def to_array(tensor: TensorProto) -> np.ndarray:
    """The values of a tensor as a read-only array of its shape; strings become an object array of str.

    Raises:
        FrontendError: The data contradicts the declared shape or type.
    """
    what = f"tensor {tensor.name!r}"
    count = check_size(what, tensor.data_type, tuple(tensor.dims))
    array = _from_raw(tensor, count, what) if tensor.HasField("raw_data") else _from_typed(tensor, count, what)
    array.flags.writeable = False
    return array


def _from_raw(tensor: TensorProto, count: int, what: str) -> np.ndarray:
    if tensor.data_type == TensorProto.STRING:
        raise FrontendError(f"{what} holds strings as raw bytes, which ONNX forbids")
    raw = tensor.raw_data
    expected = stored_bytes(tensor.data_type, count)
    if len(raw) != expected:
        raise FrontendError(f"{what} of shape {list(tensor.dims)} needs {expected} bytes but holds {len(raw)}")
    return _from_bytes(raw, tensor)


def _from_bytes(raw: bytes, tensor: TensorProto) -> np.ndarray:
    if tensor.data_type in _BITS:
        return numpy_helper.to_array(tensor)
    dtype = numpy_dtype(tensor.data_type)
    # ONNX stores little-endian; every machine that ONNX Runtime has wheels for is.
    return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))


def _from_typed(tensor: TensorProto, count: int, what: str) -> np.ndarray:
    values = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    if values != _field_length(tensor.data_type, count):
        raise FrontendError(f"{what} of shape {list(tensor.dims)} needs {count} values but holds {values}")
    if tensor.data_type == TensorProto.STRING:
        strings = [s.decode("utf-8", "surrogateescape") for s in tensor.string_data]
        return np.array(strings, dtype=object).reshape(tuple(tensor.dims))
    return np.array(numpy_helper.to_array(tensor)).reshape(tuple(tensor.dims))


def _field_length(element: int, count: int) -> int:
    """How many entries a typed field has for `count` elements: complex numbers take two, packed ones share a byte."""
    if element in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * count
    return stored_bytes(element, count) if element in _BITS else count


def fill_proto(proto: TensorProto, array: np.ndarray) -> None:
    """Write an array's type, shape and values into an empty tensor message."""
    array = np.asarray(array)
    element = element_type(array.dtype)
    if element in _BITS:
        proto.MergeFrom(numpy_helper.from_array(array))
        return
    proto.data_type = element
    proto.dims.extend(array.shape)
    if element == TensorProto.STRING:
        proto.string_data.extend(_encoded(value) for value in array.ravel())
    else:
        proto.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def fill_small(proto: TensorProto, array: np.ndarray) -> None:
    """Write as `fill_proto` does an array that may hold sizes; of a larger one, a weight, only type and shape."""
    if array.size <= _LARGEST_SIZES:
        fill_proto(proto, array)
        return
    proto.data_type = element_type(array.dtype)
    proto.dims.extend(array.shape)


def _encoded(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


class SparseInitializer(SparseValues):
    """A sparse initializer that stays sparse in the file until a pass looks at its values, which makes it dense."""

    def __init__(self, tensor: onnx.SparseTensorProto) -> None:
        self.tensor = tensor
        self.shape = tuple(tensor.dims)
        self.dtype = numpy_dtype(tensor.values.data_type)
        check_size(f"sparse tensor {tensor.values.name!r}", tensor.values.data_type, self.shape)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        self._values, self._indices = to_array(tensor.values), to_array(tensor.indices)

    def load(self) -> np.ndarray:
        """The dense array, read-only; absent values are zero."""
        dense = np.zeros(self.shape, self.dtype)
        linear = self._indices.ndim == 1
        places = np.unravel_index(self._indices, self.shape) if linear else tuple(self._indices.T)
        dense[places] = self._values
        dense.flags.writeable = False
        return dense
