"""The RPC device talks to TVM's own server on the loopback interface."""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
import pytest

from pfir.devices.rpc import RpcDevice, parse_url
from pfir.devices.worker_main import Runner
from pfir.errors import DeviceError, UsageError
from pfir.target import parse_target
from tests.test_devices.library import X, doubled
from tests.test_devices.server import rpc_server


@pytest.fixture(scope="module")
def url():
    with rpc_server() as server:
        yield server.url


def test_a_library_is_uploaded_run_and_measured_and_a_second_session_follows(url):
    with RpcDevice(url) as device:
        np.testing.assert_array_equal(device.run(doubled(), {"x": X})["y"], 2 * X)
        measurement = device.measure(doubled())
        assert (measurement.source, measurement.detail) == ("measured", url)
    with RpcDevice(url) as device:
        np.testing.assert_array_equal(device.run(doubled(), {"x": X + 1})["z"], 2 * X + 2)


def test_libraries_that_were_forgotten_are_loaded_again(url):
    with RpcDevice(url) as device:
        device.forget()
        for _ in range(2):
            np.testing.assert_array_equal(device.run(doubled(), {"x": X})["y"], 2 * X)
            device.forget()


def test_kernels_use_the_threads_that_were_asked_for(url):
    for threads in (2, 1):
        runner = Runner()
        runner.open({**parse_url(url), "threads": threads})
        assert runner._session.get_function("runtime.NumThreads")() == threads
        del runner


def test_a_library_for_another_architecture_is_named(url):
    library = replace(doubled("arm"), target=parse_target("arm"))
    with RpcDevice(url) as device, pytest.raises(DeviceError, match="the library is for aarch64-linux-gnu"):
        device.run(library, {"x": X})


def test_a_server_that_ends_is_an_error_of_the_device():
    with rpc_server() as server, RpcDevice(server.url) as device:
        device.connect()
        server.end()
        with pytest.raises(DeviceError, match="the connection was lost"):
            device.run(doubled(), {"x": X})


def test_a_port_that_nobody_listens_on_is_an_error_of_the_device():
    with RpcDevice("rpc://127.0.0.1:1") as device, pytest.raises(DeviceError, match="rpc://127.0.0.1:1 .*rpc_server"):
        device.connect()


def test_a_server_that_says_nothing_is_an_error_after_the_time_given():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        device = RpcDevice(f"rpc://127.0.0.1:{port}", connect_timeout_s=3)
        with device, pytest.raises(DeviceError, match="within 3 s"):
            device.connect()


def test_an_address_names_host_port_and_key():
    assert parse_url("rpc://pi.local:9090") == {"host": "pi.local", "port": 9090, "key": ""}
    assert parse_url("rpc://10.0.0.2:9190/rasp4") == {"host": "10.0.0.2", "port": 9190, "key": "rasp4"}


@pytest.mark.parametrize("text", ["", "pi.local:9090", "http://pi:80", "rpc://pi", "rpc://:9090", "rpc://pi:99999"])
def test_other_addresses_are_refused(text):
    with pytest.raises(UsageError, match="rpc://host:port"):
        parse_url(text)
