"""TVM's own RPC server on the loopback interface, as a device runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


class Server:
    """A running server; `end` is what a device does whose power fails."""

    def __init__(self) -> None:
        where = ["--host", "127.0.0.1", "--port", "9190", "--port-end", "9290"]
        command = [sys.executable, "-m", "tvm.exec.rpc_server", *where]
        environment = {**os.environ, "TVM_NUM_THREADS": "2"}  # as many as a small device has cores
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        line = next(line for line in self._process.stdout if "bind to" in line)
        self.url = "rpc://" + line.split("bind to")[1].strip()

    def end(self) -> None:
        if self._process.poll() is not None:
            return
        process = psutil.Process(self._process.pid)
        for each in [process, *process.children(recursive=True)]:
            each.kill()
        self._process.communicate()


@contextmanager
def rpc_server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.end()
