"""Small graphs: written down node by node with random weights, in ONNX's text form, or as nodes; inputs for them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper

from pfir.ir.model import Model

SIZES = {"N": 2, "H": 6, "W": 4, "S": 3, "T": 5}
"""What symbolic dimensions become in a run."""


class Net:
    """A graph that is being written down; names are given out in order."""

    def __init__(self, seed: int, opset: int = 13, dtype=np.float32):
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.dtype = np.dtype(dtype)
        self.nodes, self.inputs, self.initializers, self.functions, self.named = [], [], [], [], []
        self.count = self.constants = self.bodies = 0

    def width(self, multiple: int = 1) -> int:
        """A random number of channels."""
        return int(self.rng.integers(2, 6)) * multiple

    def input(self, *shape, dtype=None) -> str:
        name = f"in{len(self.inputs)}"
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def const(self, values, dtype=None) -> str:
        name = f"c{self.constants}"
        self.constants += 1
        array = np.asarray(values, dtype=dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def w(self, *shape) -> str:
        return self.const(self.rng.standard_normal(shape) * 0.5, self.dtype)

    def positive(self, *shape) -> str:
        return self.const(self.rng.uniform(0.5, 1.5, shape), self.dtype)

    def ints(self, *values) -> str:
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, outs: int = 1, domain: str = "", **attrs):
        self.count += 1
        names = [f"{kind.lower()}{self.count}" + (f"_{j}" if outs > 1 else "") for j in range(outs)]
        node = helper.make_node(kind, list(inputs), names, name=f"{kind}_{self.count}", domain=domain, **attrs)
        self.nodes.append(node)
        return names[0] if outs == 1 else names

    def conv(self, x: str, a: int, b: int, k: int = 3, group: int = 1, bias: bool = True, d: int = 2, **attrs) -> str:
        weights = [self.w(b, a // group, *[k] * d)] + ([self.w(b)] if bias else [])
        return self.op("Conv", x, *weights, kernel_shape=[k] * d, pads=[k // 2] * (2 * d), group=group, **attrs)

    def norm(self, x: str, c: int) -> str:
        return self.op("BatchNormalization", x, self.positive(c), self.w(c), self.w(c), self.positive(c))

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def dense(self, x: str, a: int, b: int) -> str:
        return self.op("Gemm", x, self.w(a, b), self.w(b))

    def linear(self, x: str, a: int, b: int) -> str:
        return self.op("Add", self.op("MatMul", x, self.w(a, b)), self.w(b))

    def dim(self, x: str, axis: int) -> str:
        """One size of a tensor, asked for at run time, [1]."""
        size = self.op("Gather", self.op("Shape", x), self.const(axis, np.int64), axis=0)
        return self.op("Unsqueeze", size, self.ints(0))

    def again(self, go: str) -> str:
        """The condition of a Loop that goes on, under a name that `body` takes for one."""
        self.count += 1
        self.nodes.append(helper.make_node("Identity", [go], [f"go_on{self.count}"], f"Identity_{self.count}"))
        return f"go_on{self.count}"

    def head(self, x: str, c: int) -> str:
        """Global pooling and a classifier with three classes."""
        return self.dense(self.op("Flatten", self.op("GlobalAveragePool", x)), c, 3)

    def body(self, make, *inputs: np.dtype | type) -> onnx.GraphProto:
        """A graph for an attribute, with nodes and weights of its own.

        Args:
            make: From the names of its inputs to those of its outputs, which are booleans if they start with "go".
            inputs: The types of its inputs.
        """
        outside = self.nodes, self.initializers
        self.nodes, self.initializers, self.bodies = [], [], self.bodies + 1
        given = [_value(f"{'go' if k is bool else 'b'}{self.bodies}_{i}", k) for i, k in enumerate(inputs)]
        results = make(*(value.name for value in given))
        made = [_value(name, bool if name.startswith("go") else self.dtype) for name in results]
        graph = helper.make_graph(self.nodes, f"body{self.bodies}", given, made, self.initializers)
        self.nodes, self.initializers = outside
        return graph

    def output(self, name: str, tensor: str) -> None:
        """The tensor is an output of this name."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"out_{name}"))
        self.named.append(name)

    def model(self, outputs: tuple[str, ...] = ()) -> Model:
        """The model of these outputs, and of those that have names."""
        outputs = (*outputs, *self.named)
        element = helper.np_dtype_to_tensor_dtype(self.dtype)
        results = [helper.make_tensor_value_info(name, element, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, results, self.initializers)
        domains = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        domains += [helper.make_opsetid("local", 1)] if self.functions else []
        proto = helper.make_model(graph, opset_imports=domains, ir_version=8, functions=self.functions)
        inferred = onnx.shape_inference.infer_shapes(proto).graph.output
        for given, found in zip(proto.graph.output, inferred, strict=True):
            known = found.type.tensor_type.HasField("shape")
            given.CopyFrom(found if known else helper.make_tensor_value_info(given.name, element, ["N", None]))
        onnx.checker.check_model(proto)
        return Model.from_proto(proto)


def _value(name: str, kind: np.dtype | type) -> onnx.ValueInfoProto:
    """A tensor at the border of a body: of any shape if it is of floats, else a scalar."""
    kind = np.dtype(kind)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), None if kind.kind == "f" else [])


def parsed(body: str, opset: int = 13, **arrays: np.ndarray) -> Model:
    """A model of ONNX's text form; `arrays` become initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items())
    return Model.from_proto(proto)


def model_of(nodes, arrays, inputs, outputs, opset: int = 17) -> Model:
    """A model of onnx's nodes and of initializers by name.

    Args:
        inputs, outputs: float32, name to shape: sizes, with None or a name where dynamic; None leaves a shape to
            inference.
    """
    borders = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in border.items()]
        for border in (inputs, outputs)
    ]
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", *borders, held)
    domains = {"": opset} | {node.domain: 1 for node in nodes if node.domain}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return Model.from_proto(onnx.shape_inference.infer_shapes(proto), "net")


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """float32 normal values; others for every shape."""
    return np.random.default_rng([seed, *shape]).normal(size=shape, scale=scale).astype(np.float32)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 normal values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def feeds(model: Model, seed: int = 0, dynamic: int | None = None) -> dict[str, np.ndarray]:
    """Random inputs; integers lie in [0, 4).

    Args:
        dynamic: Every size that is open; None for those of `SIZES`, else 2.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in model.inputs():
        shape = [size if isinstance(size, int) else dynamic or SIZES.get(size, 2) for size in tensor.shape]
        kind = np.dtype(tensor.dtype)
        whole = kind.kind in "iub"
        found[tensor.name] = (rng.integers(0, 4, shape) if whole else rng.standard_normal(shape)).astype(kind)
    return found
