import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.packing.wire import LEAST_BYTES, Values, values_within

ARRAY = np.arange(300, dtype=np.float32)
TENSOR = numpy_helper.from_array(ARRAY, "w")


def _model(**graph) -> ModelProto:
    return ModelProto(graph=GraphProto(name="g", **graph))


def _in_attribute(**fields) -> ModelProto:
    return _model(node=[helper.make_node("Op", [], ["y"])], **fields)


def _nested():
    body = GraphProto(initializer=[TENSOR])
    model = _in_attribute()
    model.graph.node[0].attribute.add(name="body", type=AttributeProto.GRAPH, g=body)
    return model


def _listed():
    model = _in_attribute()
    model.graph.node[0].attribute.add(name="values", type=AttributeProto.TENSORS, tensors=[TENSOR])
    return model


def _function():
    model = _model()
    node = helper.make_node("Constant", [], ["y"], value=TENSOR)
    model.functions.append(FunctionProto(name="f", node=[node]))
    return model


def _sparse():
    model = _model()
    model.graph.sparse_initializer.add(values=TENSOR, dims=[1000])
    return model


def _typed():
    return _model(initializer=[helper.make_tensor("w", TensorProto.FLOAT, [300], ARRAY)])


PLACES = {
    "an initializer": _model(initializer=[TENSOR]),
    "a body": _nested(),
    "a list of tensors": _listed(),
    "a function": _function(),
    "a sparse initializer": _sparse(),
    "a typed field": _typed(),
}


@pytest.mark.parametrize("model", PLACES.values(), ids=PLACES)
def test_values_are_found_wherever_a_tensor_may_stand(model):
    content = model.SerializeToString()
    (found,), outside = values_within(content)
    assert (found.count, found.width) == (300, 4) and not outside
    assert content[found.start : found.end] == ARRAY.tobytes()


@pytest.mark.parametrize(
    ("dtype", "width"), [("i1", 1), ("f2", 2), ("u2", 2), ("i4", 4), ("f8", 8), ("i8", 8), ("c8", 8), ("c16", 8)]
)
def test_elements_have_the_width_of_their_numbers(dtype, width):
    array = np.zeros(1000, dtype)
    (found,), _ = values_within(_model(initializer=[numpy_helper.from_array(array)]).SerializeToString())
    assert found.width == width and found.count * width == array.nbytes


def test_few_values_stay_where_they_are():
    few = numpy_helper.from_array(np.zeros(LEAST_BYTES - 1, np.int8))
    assert values_within(_model(initializer=[few]).SerializeToString()) == ([], [])


def test_values_whose_length_fits_no_element_or_whose_type_is_unknown_count_by_bytes():
    for element, size in ((TensorProto.FLOAT, 1001), (99, 1000)):
        tensor = TensorProto(data_type=element, dims=[250], raw_data=bytes(size))
        (found,), _ = values_within(_model(initializer=[tensor]).SerializeToString())
        assert found == Values(found.start, size, 1)


def test_tensors_whose_values_lie_elsewhere_are_told():
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[9], data_location=TensorProto.EXTERNAL)
    assert values_within(_model(initializer=[outside]).SerializeToString()) == ([], [outside])


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x07", b"pfir is no model", b"\x3a\x7f", b"\x3a\x02\x0a", b"\x0b", b"\x80" * 11]
)
def test_what_is_no_model_is_refused(content):
    with pytest.raises(FrontendError, match="no graph|no ONNX model"):
        values_within(content)


def test_a_damaged_tensor_whose_values_lie_elsewhere_is_refused():
    location = bytes([TensorProto.DATA_LOCATION_FIELD_NUMBER << 3, TensorProto.EXTERNAL])
    tensor = location + b"\x6a\x02\xff\xff"  # an entry of external data that is no message
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    with pytest.raises(FrontendError, match="no ONNX model"):
        values_within(b"\x3a" + bytes([len(graph)]) + graph)
