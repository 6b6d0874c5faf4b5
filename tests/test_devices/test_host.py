"""The host device runs libraries in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.devices.host import HostDevice, summarise
from pfir.devices.worker import Worker
from pfir.errors import DeviceError, RunError, UsageError
from tests.test_devices.library import X, doubled


@pytest.fixture(scope="module")
def device():
    with HostDevice() as host:
        yield host


def test_a_library_runs_and_gives_every_output(device):
    outputs = device.run(doubled(), {"x": X})
    assert list(outputs) == ["y", "z"]
    np.testing.assert_array_equal(outputs["y"], 2 * X)


def test_a_second_run_sees_new_inputs_and_leaves_old_outputs_alone(device):
    first = device.run(doubled(), {"x": X})["y"]
    second = device.run(doubled(), {"x": X + 1})["y"]
    np.testing.assert_array_equal(first, 2 * X)
    np.testing.assert_array_equal(second, 2 * X + 2)


def test_many_samples_run_one_after_the_other_and_come_back_together(device):
    outputs = device.run_each(doubled(rows=1), {"x": X})
    np.testing.assert_array_equal(outputs["y"], 2 * X)
    with pytest.raises(RunError, match=r"float32\[2, 3\]"):
        device.run_each(doubled(), {"x": X})


def test_a_measurement_says_that_it_was_measured_here(device):
    measurement = device.measure(doubled())
    assert measurement.seconds > 0
    assert measurement.source == "measured"
    assert measurement.detail.startswith("host (")
    assert measurement.repeats > 1


def test_loading_is_timed_and_the_library_runs_afterwards(device):
    assert 0 < device.load_seconds(doubled()) < 10
    np.testing.assert_array_equal(device.run(doubled(), {"x": X})["y"], 2 * X)


def test_the_spread_is_half_the_interquartile_range_over_the_median():
    measurement = summarise([1.0, 2.0, 3.0, 4.0, 5.0], "here", 1)
    assert measurement.seconds == 3.0
    assert measurement.spread == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [({}, "x is missing"), ({"x": X[:1]}, "float32[1, 3]"), ({"x": X.astype(np.float64)}, "float64[2, 3]")],
)
def test_inputs_that_do_not_fit_are_refused(device, inputs, words):
    with pytest.raises(RunError, match=words.replace("[", r"\[")):
        device.run(doubled(), inputs)


def test_a_library_of_another_backend_is_refused(device):
    with pytest.raises(DeviceError, match="comes from ort"):
        device.run(replace(doubled(), backend="ort"), {"x": X})


def test_a_library_for_another_architecture_is_refused(device):
    target = replace(doubled().target, triple="aarch64-linux-gnu")
    with pytest.raises(DeviceError, match="--target host"):
        device.run(replace(doubled(), target=target), {"x": X})


def test_a_file_that_is_no_library_is_an_error_of_the_device_and_the_next_run_works(device):
    with pytest.raises(RunError, match="failed to load"):
        device.run(replace(doubled(), files={"model.so": b"no library"}), {"x": X})
    np.testing.assert_array_equal(device.run(doubled(), {"x": X})["y"], 2 * X)


def test_a_crash_is_an_error_of_the_device_and_the_next_run_works():
    with HostDevice() as host:
        host.run(doubled(), {"x": X})
        host._worker._process.kill()
        with pytest.raises(RunError, match="stopped during run"):
            host.run(doubled(), {"x": X})
        np.testing.assert_array_equal(host.run(doubled(), {"x": X})["y"], 2 * X)


def test_a_device_that_takes_too_long_is_an_error():
    with HostDevice(timeout_s=0.0) as host:
        host._worker.connect()
        os.kill(host._worker._process.pid, signal.SIGSTOP)  # else it may have answered before anybody looked
        with pytest.raises(RunError, match="did not answer"):
            host.run(doubled(), {"x": X})


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import time; time.sleep(30)"], ids=["ends", "hangs"])
def test_a_child_that_does_not_start_is_no_fault_of_the_library(program):
    worker = Worker("device", command=(sys.executable, "-S", "-c", program))
    with pytest.raises(DeviceError) as caught:
        worker.connect(timeout_s=0.5)
    assert not isinstance(caught.value, RunError)


def test_no_threads_are_refused():
    with pytest.raises(UsageError, match="at least 1"):
        HostDevice(threads=0)


def test_an_interface_with_another_count_of_outputs_is_noticed(device):
    wrong = replace(doubled(), outputs=(TensorSpec("y", "float32", (2, 3)),))
    with pytest.raises(RunError, match="2 outputs"):
        device.run(wrong, {"x": X})
