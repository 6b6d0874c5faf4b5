"""Small models that stand for a lot: of memory, of time, of nodes, of depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.uses import use

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class _Bomb:
    """A graph with one input x [1, 3, 8, 8], a first layer, and what is added."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.nodes, self.constants = rng, [], []
        self.model = ModelProto()
        self.add("Conv", "x", self.floats(4, 3, 3, 3), pads=[1] * 4, outputs=("first",))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def floats(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        if chance(self.rng, 0.2):
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
            self.constants.append(None)
        else:
            self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes) -> str:
        outputs = outputs or (f"t{len(self.nodes)}",)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=f"n{len(self.nodes)}", **attributes))
        return outputs[0]

    def size(self) -> int:
        """A size that is too large, or just not."""
        return int(2 ** self.rng.uniform(8, 34)) if chance(self.rng, 0.9) else pick(self.rng, (2**31, 2**40, 2**62))

    def small(self) -> int:
        return int(2 ** self.rng.uniform(2, 14))

    def proto(self, out: str) -> ModelProto:
        inputs = [
            helper.make_tensor_value_info("x", FLOAT, pick(self.rng, ([1, 3, 8, 8], ["N", 3, 8, 8], [1, 3, "H", "W"])))
        ]
        outputs = [onnx.ValueInfoProto(name=out)]
        if chance(self.rng, 0.8):
            outputs = [helper.make_tensor_value_info(out, pick(self.rng, (FLOAT, FLOAT, INT64)), None)]
        if chance(self.rng, 0.4):
            outputs.append(helper.make_tensor_value_info("first", FLOAT, None))
        graph = helper.make_graph(self.nodes, "bomb", inputs, outputs, [c for c in self.constants if c is not None])
        opset = pick(self.rng, (11, 13, 13, 17, 18, 21))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A bomb, and a command on it."""
    bomb = _Bomb(rng)
    kind = pick(rng, _BOMBS)
    out = kind(bomb)
    if isinstance(out, str) and chance(rng, 0.5):
        out = _joined(bomb, out)
    proto = out if isinstance(out, ModelProto) else bomb.proto(out)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return use(rng, "m.onnx", kind.__name__.strip("_"))


def _joined(b: _Bomb, out: str) -> str:
    """What was made meets what the first layer makes, so that channel analysis has to know it."""
    how = pick(b.rng, ("Mul", "Add", "Reshape", "Expand", "Concat", "MatMul", "Gather", "Where", "ReduceSum"))
    if how == "Concat":
        return b.add("Concat", "first", out, axis=int(b.rng.integers(0, 4)))
    if how == "Where":
        return b.add("Where", b.add("Cast", out, to=TensorProto.BOOL), "first", "first")
    if how == "ReduceSum":
        return b.add("Add", "first", b.add("ReduceSum", b.add("Cast", out, to=FLOAT), keepdims=0))
    return b.add(how, "first", out)


def _doubling_concat(b: _Bomb) -> str:
    x = pick(b.rng, (lambda: b.add("Shape", "x"), lambda: b.ints(1, 2), lambda: b.floats(2), lambda: "first"))()
    for _ in range(int(b.rng.integers(4, 40))):
        x = b.add("Concat", *[x] * pick(b.rng, (2, 2, 2, 3, 10)), axis=0)
    return x


def _doubling_others(b: _Bomb) -> str:
    """A chain of operators each of which makes more of what it is given."""
    x = pick(b.rng, (lambda: b.floats(2, 2), lambda: "first"))()
    kinds = pick(b.rng, (("Tile",), ("Pad",), ("Resize",), ("Tile", "Pad", "Resize", "Concat")))
    rank = 4 if x == "first" else 2
    for _ in range(int(b.rng.integers(2, 24))):
        kind = pick(b.rng, kinds)
        if kind == "Tile":
            x = b.add("Tile", x, b.ints(*[2] * rank))
        elif kind == "Pad":
            x = b.add("Pad", x, b.ints(*[b.small()] * (2 * rank)))
        elif kind == "Resize":
            x = b.add("Resize", x, "", b.constant(np.full(rank, 2, np.float32)))
        else:
            x = b.add("Concat", x, x, axis=rank - 1)
    return x


def _constant_of_shape(b: _Bomb) -> str:
    sizes = [b.size()] if chance(b.rng, 0.5) else [b.small() for _ in range(int(b.rng.integers(2, 5)))]
    return b.add("ConstantOfShape", b.ints(*sizes))


def _expanded(b: _Bomb) -> str:
    return b.add(
        "Expand", pick(b.rng, ("first", b.floats(1))), b.ints(*(b.small() for _ in range(int(b.rng.integers(1, 5)))))
    )


def _tiled(b: _Bomb) -> str:
    if chance(b.rng, 0.5):
        return b.add("Tile", "first", b.ints(1, b.small(), b.small(), 1))
    return b.add("Tile", b.floats(4), b.ints(b.size()))


def _padded(b: _Bomb) -> str:
    x = pick(b.rng, ("first", b.floats(1, 4, 1, 1)))
    return b.add("Pad", x, b.ints(0, 0, b.small(), b.small(), 0, pick(b.rng, (0, b.small())), 0, b.small()))


def _ranged(b: _Bomb) -> str:
    if chance(b.rng, 0.3):
        return b.add("Range", *(b.constant(np.float32(v)) for v in (0, b.size(), pick(b.rng, (1, 1e-6, 0, -1)))))
    return b.add("Range", *(b.constant(np.int64(v)) for v in (0, b.size(), pick(b.rng, (1, 1, 0, -1)))))


def _resized(b: _Bomb) -> str:
    x = pick(b.rng, ("first", b.floats(1, 4, 2, 2)))
    mode = pick(b.rng, ("nearest", "linear", "cubic"))
    if chance(b.rng, 0.5):
        return b.add("Resize", x, "", b.constant(np.array([1, 1, b.small(), b.small()], np.float32)), mode=mode)
    return b.add("Resize", x, "", "", b.ints(1, 4, b.small(), b.small()), mode=mode)


def _one_hot(b: _Bomb) -> str:
    return b.add("OneHot", b.ints(*range(8)), b.constant(np.int64(b.size())), b.constant(np.array([0, 1], np.float32)))


def _eye(b: _Bomb) -> str:
    made = b.add("ConstantOfShape", b.ints(b.small(), b.small()))
    return b.add("EyeLike", made)


def _random(b: _Bomb) -> str:
    return b.add(pick(b.rng, ("RandomNormal", "RandomUniform")), shape=[b.small(), b.small(), b.small()])


def _outer(b: _Bomb) -> str:
    n = b.small()
    column = b.add("ConstantOfShape", b.ints(n, 1))
    row = b.add("ConstantOfShape", b.ints(1, b.small()))
    return b.add(pick(b.rng, ("MatMul", "Add", "Mul", "Less", "Pow")), column, row)


def _windows(b: _Bomb) -> str:
    kind = pick(b.rng, ("MaxPool", "AveragePool", "Conv", "ConvTranspose"))
    attributes: dict = {"strides": [b.small()] * 2} if chance(b.rng, 0.5) else {}
    if chance(b.rng, 0.7):
        attributes["pads"] = [b.small() for _ in range(4)]
    if chance(b.rng, 0.5):
        attributes["dilations"] = [b.small()] * 2
    if kind in ("MaxPool", "AveragePool"):
        return b.add(kind, "first", kernel_shape=[b.small()] * 2, **attributes)
    return b.add(kind, "first", b.floats(4, 4, 3, 3), **attributes)


def _gathered(b: _Bomb) -> str:
    indices = b.add("ConstantOfShape", b.ints(b.size()), value=numpy_helper.from_array(np.zeros(1, np.int64)))
    return b.add("Gather", pick(b.rng, ("first", b.floats(4, 64))), indices, axis=int(b.rng.integers(0, 2)))


def _many_nodes(b: _Bomb) -> str:
    x, kinds = (
        "first",
        pick(b.rng, (("Relu",), ("Identity",), ("Relu", "Neg", "Abs"), ("Add",), ("Reshape",), ("Mul",))),
    )
    shape = b.ints(0, 0, -1, 8)
    for _ in range(int(10 ** b.rng.uniform(2, 3.7))):
        kind = pick(b.rng, kinds)
        x = b.add(kind, x, *((x,) if kind in ("Add", "Mul") else (shape,) if kind == "Reshape" else ()))
    return x


def _many_layers(b: _Bomb) -> str:
    x = "first"
    weight = b.floats(4, 4, 1, 1)
    for _ in range(int(10 ** b.rng.uniform(1, 2.6))):
        x = b.add("Conv", x, weight if chance(b.rng, 0.5) else b.floats(4, 4, 1, 1))
        if chance(b.rng, 0.3):
            x = b.add("Add", x, "first")
    return x


def _wide(b: _Bomb) -> str:
    count = int(10 ** b.rng.uniform(1, 3.5))
    if chance(b.rng, 0.5):
        return b.add("Concat", *["first"] * count, axis=1)
    parts = [b.add("Slice", "first", b.ints(k % 4), b.ints(k % 4 + 1), b.ints(1)) for k in range(min(count, 1000))]
    return b.add("Sum", *parts)


def _declared(b: _Bomb) -> ModelProto:
    """Sizes that are only declared."""
    proto = b.proto("first")
    what = pick(b.rng, ("input", "constant", "sparse", "value"))
    if what == "input":
        for dim in proto.graph.input[0].type.tensor_type.shape.dim:
            dim.dim_value = b.size()
    elif what == "constant":
        tensor = TensorProto(name="huge", data_type=pick(b.rng, (1, 7, 8, 11)), dims=[b.size(), b.small()])
        proto.graph.initializer.append(tensor)
        proto.graph.node.append(helper.make_node("Shape", ["huge"], ["s"]))
        proto.graph.output.append(helper.make_tensor_value_info("s", INT64, None))
    elif what == "sparse":
        values = numpy_helper.from_array(np.ones(2, np.float32), "huge")
        indices = numpy_helper.from_array(np.array([0, 5], np.int64), "i")
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [b.size(), b.small()]))
        proto.graph.node.append(helper.make_node("Shape", ["huge"], ["s"]))
        proto.graph.output.append(helper.make_tensor_value_info("s", INT64, None))
    else:
        proto.graph.value_info.append(helper.make_tensor_value_info("first", FLOAT, [b.size(), b.size()]))
    return proto


def _nested(b: _Bomb) -> ModelProto:
    """If within If within If."""
    plain = _branch([helper.make_node("Relu", ["first"], ["y0"])], "y0")
    inner = plain
    for level in range(1, int(b.rng.integers(2, 30))):
        inner = _branch([_choice(inner, plain, f"y{level}")], f"y{level}")
    b.constants.append(numpy_helper.from_array(np.array(True), "yes"))
    b.nodes.append(_choice(inner, plain, "out"))
    return b.proto("out")


def _branch(nodes: list[NodeProto], out: str) -> GraphProto:
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(out, FLOAT, None)])


def _choice(body: GraphProto, other: GraphProto, out: str) -> NodeProto:
    return helper.make_node("If", ["yes"], [out], then_branch=body, else_branch=other)


def _functions(b: _Bomb) -> ModelProto:
    """Local functions that each call the next one, several times."""
    proto, depth, width = b.proto("out"), int(b.rng.integers(1, 30)), int(b.rng.integers(1, 8))
    for level in range(depth):
        last = level == depth - 1
        kind, domain = ("Relu", "") if last else (f"f{level + 1}", "local")
        nodes = [helper.make_node(kind, [f"v{k}"], [f"v{k + 1}"], domain=domain) for k in range(width)]
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
        proto.functions.append(helper.make_function("local", f"f{level}", ["v0"], [f"v{width}"], nodes, opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.graph.node.append(helper.make_node("f0", ["first"], ["out"], domain="local"))
    return proto


def _looped(b: _Bomb) -> str:
    """A Loop of many trips, whose state may grow."""
    grows = chance(b.rng, 0.5)
    node = helper.make_node("Concat", ["s", "s"], ["s2"], axis=0) if grows else helper.make_node("Neg", ["s"], ["s2"])
    nodes = [node, helper.make_node("Identity", ["c"], ["c2"])]
    values = [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    inputs = [*values, helper.make_tensor_value_info("s", FLOAT, None)]
    outputs = [
        helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
        helper.make_tensor_value_info("s2", FLOAT, None),
    ]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    trips = b.constant(np.int64(pick(b.rng, (0, 1, 5, 20, 40, 1000, 10**6, 10**7, 2**63 - 1))))
    start = pick(b.rng, (b.floats(1), "first"))
    return b.add("Loop", trips, pick(b.rng, ("", b.constant(np.array(True)))), start, body=body)


def _einsum(b: _Bomb) -> str:
    made = [b.add("ConstantOfShape", b.ints(b.small())) for _ in range(3)]
    return b.add("Einsum", *made, equation=pick(b.rng, ("a,b,c->abc", "a,b,c->", "a,b,c", "i,i,i->i")))


def _upsampled_index(b: _Bomb) -> str:
    """Operators whose result is as large as a value says."""
    kind = pick(
        b.rng, ("ScatterND", "NonZero", "CumSum", "TopK", "Trilu", "DepthToSpace", "Split", "Compress", "Unique")
    )
    made = b.add("ConstantOfShape", b.ints(b.small(), b.small()))
    if kind in ("NonZero", "Trilu"):
        return b.add(kind, made)
    if kind == "TopK":
        return b.add(kind, made, b.ints(b.small()), outputs=("top", "at"))
    if kind == "CumSum":
        return b.add(kind, made, b.constant(np.int64(0)))
    if kind == "DepthToSpace":
        return b.add(kind, "first", blocksize=b.small())
    if kind == "Split":
        return b.add(kind, made, outputs=tuple(f"part{k}" for k in range(b.small() % 2000 + 1)), axis=0)
    if kind == "Compress":
        return b.add(kind, made, b.constant(np.ones(b.small(), bool)), axis=0)
    if kind == "Unique":
        return b.add(kind, made)
    return b.add(kind, made, b.constant(np.zeros((1, 1), np.int64)), b.floats(1, b.small()))


def _hole_outside(b: _Bomb) -> ModelProto:
    """Values beside the model in a sparse file of gigabytes."""
    with open("hole.bin", "wb") as file:
        file.truncate(pick(b.rng, (1 << 10, 1 << 20, 1 << 25, 5 << 30)))
    proto = b.proto("first")
    count = pick(b.rng, (1 << 8, 1 << 18, 1 << 23, 1 << 31, 1 << 32))
    tensor = TensorProto(name="outside", data_type=FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="hole.bin")
    proto.graph.initializer.append(tensor)
    proto.graph.node.append(helper.make_node("ReduceMean", ["outside"], ["mean"]))
    proto.graph.output.append(helper.make_tensor_value_info("mean", FLOAT, None))
    return proto


_BOMBS = (
    _doubling_concat,
    _doubling_others,
    _constant_of_shape,
    _expanded,
    _tiled,
    _padded,
    _ranged,
    _resized,
    _one_hot,
    _eye,
    _random,
    _outer,
    _windows,
    _gathered,
    _many_nodes,
    _many_layers,
    _wide,
    _declared,
    _nested,
    _functions,
    _looped,
    _einsum,
    _upsampled_index,
    _hole_outside,
)
