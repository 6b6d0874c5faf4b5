"""A device reached by TVM's RPC: a server on it, or a tracker that lends one."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.devices.feeds import named, ordered, sample
from pfir.devices.host import summarise
from pfir.devices.worker import Worker
from pfir.errors import DeviceError, UsageError
from pfir.measurement import Measurement

REPEATS = 11
MIN_REPEAT_S = 0.05
SERVER = "`python -m tvm.exec.rpc_server`"
EXPOSURE = "whoever reaches its port can run code on the device, so let only this machine reach it"


class RpcDevice(Device):
    """A device that runs `python -m tvm.exec.rpc_server`: it asks nobody who they are, and runs whatever it is sent.

    The connection lives in a process of its own: one server serves one session, and a second one waits without a
    word, so that every request here has a limit.

    Args:
        url: `rpc://host:port` of a server, or `rpc://tracker:port/key` of a tracker and the device's key.
        threads: Threads that kernels use there, >= 1.
        connect_timeout_s: Longest time to wait for the session.
        timeout_s: Longest time one run or measurement may take; an emulated device needs minutes.

    Raises:
        UsageError: The URL is not of this form.
    """

    def __init__(self, url: str, threads: int = 1, connect_timeout_s: float = 60.0, timeout_s: float = 600.0) -> None:
        self.name = url
        self._connect_timeout_s = connect_timeout_s
        self._worker = Worker(url, threads, address=parse_url(url), timeout_s=timeout_s)

    def connect(self) -> None:
        try:
            self._worker.connect(self._connect_timeout_s)
        except DeviceError as error:
            raise DeviceError(f"{error}; {SERVER} has to run there, for nobody else: {EXPOSURE}") from error

    def measure(self, artifact: Artifact) -> Measurement:
        self._ready(artifact)
        seconds = self._worker.time(artifact, sample(artifact), REPEATS, MIN_REPEAT_S)
        return summarise(seconds, self.name, artifact.target.threads)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._ready(artifact)
        outputs = self._worker.run(artifact, ordered(artifact, inputs))
        return named(artifact, outputs)

    def forget(self) -> None:
        self._worker.forget()

    def close(self) -> None:
        self._worker.close()

    def _ready(self, artifact: Artifact) -> None:
        if artifact.backend != "tvm":
            raise DeviceError(f"{self.name} runs libraries of the tvm backend; this one comes from {artifact.backend}")
        self.connect()


def parse_url(url: str) -> dict[str, str | int]:
    """The host, port and key (a tracker's, else empty) of an RPC URL.

    Raises:
        UsageError: It is not `rpc://host:port` or `rpc://host:port/key`.
    """
    form = "rpc://host:port or rpc://tracker:port/key is expected"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"device {url}: {error}; {form}") from error
    if parts.scheme != "rpc" or not host or port is None or parts.query or parts.fragment:
        raise UsageError(f"device {url} is no RPC address; {form}")
    return {"host": host, "port": port, "key": parts.path.strip("/")}
