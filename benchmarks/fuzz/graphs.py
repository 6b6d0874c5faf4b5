"""Random graphs of ONNX's operators: most nodes fit what came before, as far as ONNX's own inference tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.uses import use
from pfir.frontends.onnx.survival import ended_by

_OFTEN = (
    "Conv",
    "Conv",
    "ConvTranspose",
    "MatMul",
    "Gemm",
    "Add",
    "Mul",
    "Concat",
    "Reshape",
    "Transpose",
    "Slice",
    "Pad",
    "Split",
    "MaxPool",
    "AveragePool",
    "Resize",
    "Gather",
    "Expand",
    "ReduceMean",
    "ReduceSum",
    "BatchNormalization",
    "Softmax",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Tile",
    "Where",
    "LayerNormalization",
    "GroupNormalization",
    "Shape",
    "Einsum",
)
_SCHEMAS = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
_RARELY = tuple(sorted(_SCHEMAS))
_WORDS = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "mode": ("nearest", "linear", "cubic", "constant", "edge", "reflect"),
    "equation": ("ij,jk->ik", "bij,bjk->bik", "nchw,oc->nohw", "...c,cd->...d", "nchw->nc", "ii->i"),
    "direction": ("forward", "reverse", "bidirectional"),
    "reduction": ("none", "add", "mul"),
    "layout": ("NHWC",),
    "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize"),
    "approximate": ("none", "tanh"),
    "nearest_mode": ("floor", "round_prefer_floor"),
}


class _Writer:
    """A graph that grows; it knows the type and shape of each tensor, where onnx does."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.nodes, self.constants = rng, [], []
        shape = pick(
            rng,
            ([1, 3, 8, 8], [2, 3, 8, 8], ["N", 3, 8, 8], [2, 5, 6], [4, 6], ["N", 6], [1, 4, 5], [1, 2, 4, 4, 4], [6]),
        )
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        if chance(rng, 0.2):
            self.inputs.append(helper.make_tensor_value_info("z", pick(rng, (1, 7, 9)), pick(rng, (shape, [], ["N"]))))
        self.known: dict[str, tuple[int, list]] = {"x": (TensorProto.FLOAT, shape)}
        self.last = "x"
        self.opset = int(pick(rng, (9, 11, 12, 13, 13, 15, 17, 18, 20, 21)))

    def grow(self) -> None:
        """One more node, if it fits; sometimes one that does not."""
        kind = pick(self.rng, _OFTEN) if chance(self.rng, 0.75) else pick(self.rng, _RARELY)
        kept = len(self.constants)
        node = self._node(kind)
        found = self._inferred(node)
        if found is None and not chance(self.rng, 0.04):
            del self.constants[kept:]
            return
        self.nodes.append(node)
        for name, (element, shape) in (found or {}).items():
            self.known[name] = element, shape
        self.last = node.output[0]

    def proto(self) -> onnx.ModelProto:
        used = {name for n in self.nodes for name in n.input}
        ends = [o for n in self.nodes for o in n.output if o not in used] or [self.last]
        outputs = []
        for name in ends[-4:]:
            element, shape = self.known.get(name, (TensorProto.FLOAT, None))
            outputs.append(helper.make_tensor_value_info(name, element or 1, shape if chance(self.rng, 0.7) else None))
        graph = helper.make_graph(self.nodes, "random", self.inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def _node(self, kind: str) -> NodeProto:
        schema = _SCHEMAS[kind]
        maker = getattr(self, f"of_{kind.lower()}", None)
        x = self.last if chance(self.rng, 0.8) else pick(self.rng, sorted(self.known))
        inputs, attributes = maker(x) if maker is not None else self._by_schema(schema, x)
        attributes = {name: value for name, value in attributes.items() if value != []}
        count = max(1, schema.min_output, int(self.rng.integers(1, 4)) if kind == "Split" else 1)
        outputs = [f"t{len(self.nodes)}_{k}" for k in range(count)]
        return helper.make_node(kind, inputs, outputs, name=f"n{len(self.nodes)}", **attributes)

    def _by_schema(self, schema, x: str) -> tuple[list[str], dict]:
        count = int(self.rng.integers(max(1, schema.min_input), max(schema.min_input, 1, min(schema.max_input, 5)) + 1))
        inputs = [x, *(self._operand(x) for _ in range(count - 1))] if schema.max_input else []
        attributes = {}
        for name, attribute in schema.attributes.items():
            if attribute.required or chance(self.rng, 0.2):
                value = self._attribute(name, attribute.type)
                if value is not None:
                    attributes[name] = value
        return inputs, attributes

    def _operand(self, x: str) -> str:
        """Something beside x: another tensor, or a constant of a shape that might go with it."""
        if chance(self.rng, 0.3):
            return pick(self.rng, sorted(self.known))
        shape = self._shape(x)
        if chance(self.rng, 0.35):
            return self.ints(*(int(v) for v in self.rng.integers(-2, 5, int(self.rng.integers(1, len(shape) + 2)))))
        return self.floats(*pick(self.rng, (shape, shape[1:2], shape[-1:], [1], [], [1] * len(shape), shape[1:])))

    def _attribute(self, name: str, kind):
        kinds = onnx.defs.OpSchema.AttrType
        if kind == kinds.STRING:
            return pick(self.rng, _WORDS.get(name, ("none",)))
        if kind == kinds.INT:
            return int(pick(self.rng, (0, 1, 1, 2, 3, -1, 4, 7)))
        if kind == kinds.FLOAT:
            return float(pick(self.rng, (0.0, 0.5, 1.0, 1e-5, -1.0)))
        if kind == kinds.INTS:
            return [int(v) for v in self.rng.integers(0, 4, int(self.rng.integers(1, 5)))]
        if kind == kinds.TENSOR:
            return numpy_helper.from_array(np.ones(1, np.float32))
        return None

    def _shape(self, x: str) -> list[int]:
        """Its sizes, 2 where one is not known."""
        return [d if isinstance(d, int) and d > 0 else 2 for d in self.known.get(x, (1, []))[1] or []]

    def _inferred(self, node: NodeProto) -> dict[str, tuple[int, list]] | None:
        values = [helper.make_tensor_value_info(n, k or 1, s) for n, (k, s) in self.known.items() if n in node.input]
        constants = [c for c in self.constants if c.name in node.input]
        if {v.name for v in values} | {c.name for c in constants} != set(node.input) - {""}:
            return None  # onnx's inference has null pointers behind what is not known
        outputs = [onnx.ValueInfoProto(name=o) for o in node.output]
        graph = helper.make_graph([node], "one", values, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        options = {"check_type": True, "strict_mode": True}
        if node.op_type == "Slice" and ended_by(lambda: onnx.shape_inference.infer_shapes(model, **options)):
            return None  # an assertion in onnx
        try:
            onnx.checker.check_node(node, _context(self.opset))
            done = onnx.shape_inference.infer_shapes(model, **options)
        except Exception:  # noqa: BLE001  (any refusal of onnx's)
            return None
        found = {v.name: v.type.tensor_type for v in done.graph.output}
        return {name: (kind.elem_type, [_dim(d) for d in kind.shape.dim]) for name, kind in found.items()}

    def ints(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def floats(self, *shape: int) -> str:
        if np.prod(shape, dtype=float) > 1e5:
            shape = (1,)
        return self._constant(self.rng.standard_normal(shape).astype(np.float32))

    def _constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.nodes)}_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def _off(self, size: int) -> int:
        """The size, or another one now and then."""
        return size if chance(self.rng, 0.95) else size + int(self.rng.integers(-1, 3))

    def of_conv(self, x: str):
        shape = self._shape(x)
        d = max(0, len(shape) - 2)
        c = shape[1] if len(shape) > 1 else 3
        group = pick(self.rng, (1, 1, 1, c))
        out = int(self.rng.integers(1, 5)) * group
        k = pick(self.rng, (1, 3, 3, 5))
        inputs = [x, self.floats(self._off(out), self._off(c // group), *[k] * d)]
        inputs += [self.floats(self._off(out))] if chance(self.rng, 0.6) else []
        attributes = {"group": group, "pads": [k // 2] * 2 * d}
        if chance(self.rng, 0.3):
            attributes = {"group": group, "auto_pad": pick(self.rng, _WORDS["auto_pad"])}
        if chance(self.rng, 0.3):
            attributes["strides"] = [int(v) for v in self.rng.integers(1, 4, d)]
        if chance(self.rng, 0.2):
            attributes["dilations"] = [int(v) for v in self.rng.integers(1, 3, d)]
        return inputs, attributes

    def of_convtranspose(self, x: str):
        shape = self._shape(x)
        d = max(0, len(shape) - 2)
        c = shape[1] if len(shape) > 1 else 3
        out = int(self.rng.integers(1, 5))
        inputs = [x, self.floats(self._off(c), out, *[2] * d)] + ([self.floats(out)] if chance(self.rng, 0.5) else [])
        return inputs, {"strides": [int(self.rng.integers(1, 3))] * d}

    def of_matmul(self, x: str):
        shape = self._shape(x)
        k = shape[-1] if shape else 2
        return [x, self.floats(*pick(self.rng, ([], shape[:-2])), self._off(k), int(self.rng.integers(1, 6)))], {}

    def of_gemm(self, x: str):
        shape = self._shape(x)
        k, n = shape[-1] if shape else 2, int(self.rng.integers(1, 6))
        turned = chance(self.rng, 0.3)
        weight = self.floats(*((n, self._off(k)) if turned else (self._off(k), n)))
        return [x, weight, *([self.floats(n)] if chance(self.rng, 0.7) else [])], {"transB": int(turned)}

    def of_batchnormalization(self, x: str):
        shape = self._shape(x)
        c = self._off(shape[1] if len(shape) > 1 else 3)
        return [x, *(self._constant(self.rng.uniform(0.5, 2, c).astype(np.float32)) for _ in range(4))], {}

    def of_concat(self, x: str):
        others = [self._operand(x) for _ in range(int(self.rng.integers(0, 3)))]
        return [x, *others, x], {"axis": int(self.rng.integers(-1, 4))}

    def of_reshape(self, x: str):
        shape = self._shape(x)
        total = int(np.prod(shape))
        sizes = pick(
            self.rng, ([total], [0, -1], [-1], [1, -1], [*shape[::-1]], [0, 0, -1], [shape[0] if shape else 1, -1, 1])
        )
        return [x, self.ints(*sizes)], {}

    def of_transpose(self, x: str):
        return [x], {"perm": [int(v) for v in self.rng.permutation(len(self._shape(x)))]}

    def of_slice(self, x: str):
        shape = self._shape(x)
        axis = int(self.rng.integers(len(shape))) if shape else 0
        start, end = int(self.rng.integers(-2, 3)), int(self.rng.integers(-1, 9))
        rest = [self.ints(axis)] + ([self.ints(pick(self.rng, (1, 2, -1)))] if chance(self.rng, 0.4) else [])
        return [x, self.ints(start), self.ints(end), *rest], {}

    def of_pad(self, x: str):
        pads = [int(v) for v in self.rng.integers(0, 3, 2 * len(self._shape(x)))]
        return [x, self.ints(*pads)], {"mode": pick(self.rng, ("constant", "constant", "edge", "reflect"))}

    def _pool(self, x: str):
        d = max(0, len(self._shape(x)) - 2)
        k = pick(self.rng, (1, 2, 3))
        attributes: dict = {"kernel_shape": [k] * d, "strides": [pick(self.rng, (1, 2))] * d}
        if chance(self.rng, 0.3):
            attributes["pads"] = [k // 2] * 2 * d
        if chance(self.rng, 0.2):
            attributes["ceil_mode"] = 1
        return [x], attributes

    of_maxpool = of_averagepool = _pool

    def of_resize(self, x: str):
        rank = len(self._shape(x))
        mode = {"mode": pick(self.rng, ("nearest", "linear"))}
        if self.opset < 11:
            return [x, self._constant(np.array([1, 1, 2, 2][:rank], np.float32))], mode
        scales = self._constant(np.array([1, 1, *[pick(self.rng, (2, 0.5, 1.5))] * (rank - 2)][:rank], np.float32))
        return [x, "", scales], mode

    def of_gather(self, x: str):
        rank = len(self._shape(x))
        at = pick(self.rng, (self.ints(0, 1), self._constant(np.array(0, np.int64)), self.ints(-1, 0, 0)))
        return [x, at], {"axis": int(self.rng.integers(-1, max(1, rank)))}

    def of_expand(self, x: str):
        return [x, self.ints(*pick(self.rng, ([1], self._shape(x), [2, *self._shape(x)])))], {}

    def of_unsqueeze(self, x: str):
        axis = int(self.rng.integers(0, len(self._shape(x)) + 1))
        return ([x], {"axes": [axis]}) if self.opset < 13 else ([x, self.ints(axis)], {})

    def of_split(self, x: str):
        return [x], {"axis": int(self.rng.integers(0, 2))}

    def of_einsum(self, x: str):
        return [x, self.floats(*self._shape(x)[-1:], 3)], {
            "equation": pick(self.rng, ("ij,jk->ik", "...c,cd->...d", "nchw,wk->nchk"))
        }


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A random graph, and a command on it."""
    writer = _Writer(rng)
    wanted = int(rng.integers(2, 14))
    for _ in range(3 * wanted):
        if len(writer.nodes) < wanted:
            writer.grow()
    (folder / "m.onnx").write_bytes(writer.proto().SerializeToString())
    return use(rng, "m.onnx", " ".join(n.op_type for n in writer.nodes))


def _context(opset: int):
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 8, {"": opset}
    return context


def _dim(dim):
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
