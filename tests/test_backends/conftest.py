"""The devices of these tests end with them."""

import pytest

from tests.test_backends import devices


@pytest.fixture(scope="package", autouse=True)
def devices_end():
    yield
    devices.close()
