import numpy as np
import pytest

from pfir.compile import flow
from pfir.compile.flow import with_fitting_floats
from pfir.compile.precision.floats import LARGEST, fits_float16
from pfir.target import FLOAT16, FLOAT32
from tests.support.jobs import small_net, write_model
from tests.test_compile.test_selection.search_context import run_context

OPTIONS = {"backend": "tvm", "target": "arm:cortex-a76"}


def _large(scale):
    net = small_net()
    norm = next(node for node in net.nodes() if node.op == "BatchNormalization").inputs[1]
    net.set_arrays({norm.name: norm.values * np.float32(scale)})
    return net


def test_values_near_what_float16_holds_do_not_fit(model):
    start = run_context(model, **OPTIONS)
    assert fits_float16(start.models.start, start.samples.calibration)
    assert not fits_float16(_large(1e5), start.samples.calibration)
    assert not fits_float16(_large(2 * LARGEST), start.samples.calibration)


@pytest.mark.parametrize(("precision", "arithmetic"), [("auto", FLOAT32), ("float16", FLOAT16)])
def test_float16_that_pfir_chose_is_given_up_where_values_do_not_fit(precision, arithmetic, tmp_path):
    start = run_context(write_model(tmp_path, _large(1e5)), precision=precision, **OPTIONS)
    assert start.target.arithmetic == FLOAT16 and with_fitting_floats(start).target.arithmetic == arithmetic


def test_the_device_is_that_of_the_target_in_the_end(model):
    start = run_context(model, precision="auto", **OPTIONS)
    checked = flow.check_early(start.request, print)
    assert flow._device(start, checked) is checked.device
    single = run_context(model, precision="float32", **OPTIONS)
    assert flow._device(single, checked).target == single.target
