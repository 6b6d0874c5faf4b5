"""What tests of whole runs share: short measurements, one model, one data set, one finished run."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.jobs import run, short_runs, write_data, write_model


@pytest.fixture(scope="session", autouse=True)
def runs_are_short():
    with short_runs():
        yield


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with net.onnx and data.npz, to be read only."""
    folder = tmp_path_factory.mktemp("place")
    write_model(folder)
    write_data(folder)
    return folder


@pytest.fixture(scope="session")
def model(place):
    return place / "net.onnx"


@pytest.fixture(scope="session")
def data(place):
    return str(place / "data.npz")


@pytest.fixture(scope="session")
def finished(place, model, data):
    """The folder of a run with data, search and two epochs of training, to be read only."""
    return run(model, place / "finished", data=data, epochs=2, depfile=place / "made.d").folder


@pytest.fixture(scope="session")
def plain(place, model):
    """The folder of a run with no more than a search, to be read only; `copied` gives one to work on."""
    return run(model, place / "plain").folder


@pytest.fixture
def copied(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "out")


@pytest.fixture(scope="session")
def report(finished):
    return json.loads((finished / "report.json").read_text())
