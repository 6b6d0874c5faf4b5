"""Operators by themselves, against ONNX's reference: those that no gradient passes, and their rarer forms."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.support.net import normal

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")

from pfir.train.engines.pytorch.functions.table import FUNCTIONS  # noqa: E402

X, Y = normal(3, 4), normal(3, 4, seed=1)
A, B = np.array([[1, 8], [7, 3]]), np.array([[2, 3], [7, 4]])
TRUE = np.array([True, False, True, False])
FALSE = np.array([True, True, False, False])

CASES = {
    "Floor": ("Floor", {}, [X]),
    "Ceil": ("Ceil", {}, [X]),
    "Sign": ("Sign", {}, [X]),
    "Tan": ("Tan", {}, [X]),
    "Greater": ("Greater", {}, [X, Y]),
    "GreaterOrEqual": ("GreaterOrEqual", {}, [X, X]),
    "Less": ("Less", {}, [X, Y]),
    "LessOrEqual": ("LessOrEqual", {}, [X, X]),
    "Equal": ("Equal", {}, [A, B]),
    "Not": ("Not", {}, [TRUE]),
    "And": ("And", {}, [TRUE, FALSE]),
    "Or": ("Or", {}, [TRUE, FALSE]),
    "Div of integers": ("Div", {}, [A, B]),
    "Mod of integers": ("Mod", {}, [A, B]),
    "Pow of integers": ("Pow", {}, [A, B.astype(np.float32)]),
    "Mean": ("Mean", {}, [X, Y, X]),
    "Cast": ("Cast", {"to": onnx.TensorProto.FLOAT}, [A]),
    "ArgMax": ("ArgMax", {"axis": 1, "keepdims": 0}, [X]),
    "ArgMax that keeps axes": ("ArgMax", {}, [X]),
    "TopK of the smallest": ("TopK", {"axis": 0, "largest": 0}, [X, np.array([2])]),
    "CumSum": ("CumSum", {}, [X, np.array(1)]),
    "ReduceLogSum": ("ReduceLogSum", {"keepdims": 0}, [X**2, np.array([0])]),
    "ReduceMin of all": ("ReduceMin", {}, [X]),
    "ReduceSum of none": ("ReduceSum", {"noop_with_empty_axes": 1}, [X, np.zeros(0, np.int64)]),
    "Shape of some axes": ("Shape", {"start": 1, "end": 3}, [normal(2, 3, 4, 5)]),
    "Size": ("Size", {}, [X]),
    "Range": ("Range", {}, [np.array(2), np.array(9), np.array(3)]),
    "ConstantOfShape": ("ConstantOfShape", {}, [np.array([2, 3])]),
    "Squeeze of all": ("Squeeze", {}, [normal(1, 3, 1)]),
    "Transpose of all": ("Transpose", {}, [normal(2, 3, 4)]),
    "Split unevenly": ("Split", {"axis": 1, "num_outputs": 3}, [normal(2, 5)]),
    "Split by sizes": ("Split", {"axis": 1}, [normal(2, 5), np.array([1, 3, 1])]),
    "Pad by the edge": ("Pad", {"mode": "edge"}, [normal(1, 2, 3, 3), np.array([0, 0, 1, 0, 0, 0, 0, 2])]),
    "OneHot": ("OneHot", {"axis": 0}, [np.array([1, -1, 0]), np.array(3), np.array([-2.0, 5.0], np.float32)]),
    "ScatterElements that adds": (
        "ScatterElements",
        {"axis": 1, "reduction": "add"},
        [X, np.array([[0, -1], [1, 1], [2, 0]]), normal(3, 2)],
    ),
    "ScatterND that adds": ("ScatterND", {"reduction": "add"}, [X, np.array([[1], [1]]), normal(2, 4)]),
    "Gelu": ("Gelu", {"approximate": "tanh"}, [X]),
    "Resize to sizes": ("Resize", {"mode": "linear"}, [normal(1, 2, 4, 4), None, None, np.array([1, 2, 6, 3])]),
    "SoftmaxCrossEntropyLoss": ("SoftmaxCrossEntropyLoss", {}, [X, np.array([3, 0, 1])]),
    "SoftmaxCrossEntropyLoss, a sum with weights": (
        "SoftmaxCrossEntropyLoss",
        {"reduction": "sum"},
        [X, np.array([3, 0, 1]), np.arange(4, dtype=np.float32)],
    ),
    "LSTM that begins somewhere": (
        "LSTM",
        {"hidden_size": 3},
        [normal(5, 2, 4), normal(1, 12, 4), normal(1, 12, 3), None, None, normal(1, 2, 3), normal(1, 2, 3, seed=1)],
    ),
    "GRU without biases": ("GRU", {"hidden_size": 3}, [normal(5, 2, 4), normal(1, 9, 4), normal(1, 9, 3)]),
}
OUTPUTS = {"TopK": 2, "Split": 3, "LSTM": 3, "GRU": 2}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_what_onnx_says(name):
    op, attrs, inputs = CASES[name]
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(OUTPUTS.get(op, 1))]
    model = _model(helper.make_node(op, names, outputs, "op", **attrs), dict(zip(names, inputs, strict=True)))
    expected = ReferenceEvaluator(model).run(None, {n: x for n, x in zip(names, inputs, strict=True) if n})
    tensors = [None if x is None else torch.from_numpy(np.array(x)) for x in inputs]
    found = FUNCTIONS[op](gs.import_onnx(model).nodes[0], *tensors)
    found = found if isinstance(found, tuple | list) else (found,)
    for mine, theirs in zip(found, expected, strict=False):
        assert tuple(mine.shape) == np.shape(theirs)
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-4, atol=1e-6)


def test_a_quotient_of_integers_goes_towards_zero():
    node = gs.Node("Div", "op")
    assert FUNCTIONS["Div"](node, torch.tensor([-7, 7]), torch.tensor([2, -2])).tolist() == [-3, -3]


def test_a_constant_of_a_shape_has_the_value_that_is_given():
    node = gs.Node("ConstantOfShape", "op", {"value": gs.Constant("v", np.array([2.5], np.float32))})
    assert FUNCTIONS["ConstantOfShape"](node, torch.tensor([2, 1])).tolist() == [[2.5], [2.5]]


def _model(node: onnx.NodeProto, inputs: dict[str, np.ndarray | None]) -> onnx.ModelProto:
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in inputs.items()
        if x is not None
    ]
    made = [helper.make_tensor_value_info(n, onnx.TensorProto.UNDEFINED, None) for n in node.output]
    graph = helper.make_graph([node], "net", given, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
