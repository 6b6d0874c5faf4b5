import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from pfir.errors import FrontendError, VerifyError
from pfir.packing import packing
from pfir.packing.packing import graph_bytes, pack, pack_model
from pfir.packing.unpacking import unpack
from pfir.packing.wire import File, Values
from tests.support.structures import FAMILIES, build
from tests.test_packing.test_forms import CASES


def _model(*arrays) -> bytes:
    tensors = [numpy_helper.from_array(array, f"w{place}") for place, array in enumerate(arrays)]
    return ModelProto(graph=GraphProto(name="g", initializer=tensors)).SerializeToString()


def _came_back(content: bytes) -> bytes:
    ((name, found),) = unpack(pack_model(content))
    assert name == ""
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_of_every_form_come_back_to_the_bit(case):
    content = _model(case[0])
    assert _came_back(content) == content
    assert len(pack_model(content)) < len(content)


def test_values_of_all_forms_together_come_back():
    arrays = [case[0] for case in CASES.values()]
    content = _model(*arrays, *reversed(arrays))
    assert _came_back(content) == content


def test_palettes_of_every_width_come_back_together():
    few = np.random.default_rng(0).integers(0, 5, 3000)
    content = _model(*(few.astype(dtype) * 50 for dtype in ("i1", "f4", "i8", "f2", "i1")))
    assert _came_back(content) == content


@pytest.mark.parametrize("family", FAMILIES)
def test_every_structure_comes_back(family):
    content = build(family, 0).to_proto().SerializeToString()
    assert _came_back(content) == content


WORDS = st.sampled_from([0, 1, 2**31, 2**31 - 1, 0x7F800001, 0x7FC00000, 0x3C00, 0x3F800000, 0xBF800000])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(WORDS, st.integers(0, 2**32 - 1)), min_size=128, max_size=400), st.integers(1, 8))
def test_whatever_the_bits_are_they_come_back(bits, repeats):
    content = _model(np.array(bits * repeats, np.uint32).view(np.float32))
    assert _came_back(content) == content


def test_bytes_that_protobuf_would_write_in_another_way_come_back():
    model = ModelProto(graph=GraphProto(initializer=[helper.make_tensor("w", TensorProto.FLOAT, [200], [0.5] * 200)]))
    unknown = b"\xfa\x7f\x03abc"  # a field that ONNX has not
    content = model.SerializeToString() + unknown + ModelProto(producer_name="twice").SerializeToString() * 2
    assert _came_back(content) == content


def test_sparse_and_few_values_take_less_than_dense_ones():
    dense, half, sparse, codebook = (
        len(pack_model(_model(CASES[name][0])))
        for name in ("floats", "half of it zero", "nearly all zero", "a codebook")
    )
    assert dense > 1.6 * half and dense > 70 * sparse and dense > 6 * codebook


def test_several_files_come_back_in_their_order():
    files = (File("", _model(), ()), File("a/w.bin", bytes(5000), (Values(100, 1000, 4),)), File("b", b"", ()))
    assert unpack(pack(files)) == tuple((f.name, f.content) for f in files)


def test_a_model_with_values_elsewhere_is_no_single_file():
    tensor = TensorProto(name="w", data_location=TensorProto.EXTERNAL)
    with pytest.raises(FrontendError, match="'w' lie outside"):
        pack_model(ModelProto(graph=GraphProto(initializer=[tensor])).SerializeToString())


def test_more_than_may_be_packed_is_refused(monkeypatch):
    monkeypatch.setattr(packing, "MOST_BYTES", 10)
    with pytest.raises(FrontendError, match="at most 4 GiB"):
        pack_model(_model(np.zeros(9, np.float32)))


def test_what_would_not_come_back_is_not_written(monkeypatch):
    monkeypatch.setattr(packing, "unpack", lambda packed: ())
    with pytest.raises(VerifyError, match="would not come back"):
        pack_model(_model())


def test_the_graph_s_share_of_a_packed_model_is_what_no_values_take():
    noise = np.random.default_rng(0).bytes(1 << 16)
    small, large = (_model(np.frombuffer(noise[:count], np.uint8)) for count in (1 << 10, 1 << 16))
    assert abs(graph_bytes(small) - graph_bytes(large)) < 16
    assert len(pack_model(large)) - graph_bytes(large) == pytest.approx(1 << 16, rel=0.01)
    with pytest.raises(FrontendError):
        graph_bytes(b"no model")
