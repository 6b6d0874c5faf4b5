import numpy as np
import onnx
import pytest

from pfir.commands.opt import OptRequest, optimize
from pfir.errors import DataError
from pfir.frontends import load
from tests.support.runs import ops

QUICK = "quantize-uniform{equalize=false bias_correction=false}"


def test_a_model_is_quantized_on_the_given_data(model, data, tmp_path):
    notes = optimize(OptRequest(model, QUICK, tmp_path / "out.onnx", data))
    before, after = load(model), load(tmp_path / "out.onnx")
    assert after.inputs() == before.inputs() and after.outputs() == before.outputs()
    assert "QuantizeLinear" in ops(after) and after.provenance == (QUICK,)
    assert any("layers quantized" in note for note in notes) and not any("No data" in note for note in notes)
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)


def test_without_data_it_is_quantized_on_generated_inputs_which_is_said(model, tmp_path):
    notes = optimize(OptRequest(model, QUICK, tmp_path / "out.onnx"))
    assert "QuantizeLinear" in ops(load(tmp_path / "out.onnx"))
    assert notes[0].startswith("No data was given: statistics are those of")


def test_passes_that_need_no_data_say_nothing_of_it(model, tmp_path):
    assert not any("No data" in n for n in optimize(OptRequest(model, "simplify", tmp_path / "out.onnx")))


def test_too_few_samples_are_refused_and_nothing_is_written(model, data, tmp_path):
    few = {name: x[:3] for name, x in np.load(data).items()}
    np.savez(tmp_path / "few.npz", **few)
    with pytest.raises(DataError, match="pass quantize-uniform: 3 calibration samples are too few"):
        optimize(OptRequest(model, QUICK, tmp_path / "out.onnx", str(tmp_path / "few.npz")))
    assert not (tmp_path / "out.onnx").exists()
