"""What can go wrong, as types: each knows the exit code that the command line gives it."""

import errno

_OF_MEMORY = ("bad alloc", "cannot allocate memory", "failed to map segment", "can't start new thread", "out of memory")


class PfirError(Exception):
    """Anything that pfir itself finds wrong; its text is one line: what, where, what to do."""

    exit_code = 1
    export: tuple[str, ...] = ()
    """Lines to copy, where a few lines of code are what to do."""


class UsageError(PfirError, ValueError):
    """An argument is wrong; raised before any work."""

    exit_code = 2


class FrontendError(PfirError):
    """The model cannot be read or used."""

    exit_code = 3


class DataError(PfirError):
    """The data cannot be read or does not fit the model."""

    exit_code = 3


class VerifyError(PfirError):
    """A result contradicts what it must equal: a fault of ours."""

    exit_code = 1


class Infeasible(PfirError):
    """A verdict, not a failure: the goal or the candidate is out of reach. Only search and compile catch it."""

    exit_code = 4


class OutOfTime(PfirError):
    """A verdict, not a failure: the time budget ended optional work. Only search and compile catch it."""


class BackendError(PfirError):
    """Building or running on a target went wrong."""

    exit_code = 5


class CompileError(BackendError):
    """The backend cannot compile this model; trying again does not help."""

    exit_code = 3


class TrainingError(PfirError):
    """The graph cannot be trained: an operator has no gradient, or the loss stays no number."""

    exit_code = 3


class WorkerError(PfirError):
    """A process of a training ended before its time; going on from the checkpoint may help."""

    exit_code = 5


class DeviceError(BackendError):
    """The device did not answer as it should; trying again may help."""

    exit_code = 5


class RunError(DeviceError):
    """A library failed on a device that was ready: it did not load, crashed, hung or refused its inputs."""


def with_export(error: PfirError, lines: tuple[str, ...]) -> PfirError:
    """The error, with lines to copy."""
    error.export = lines
    return error


def lacks_memory(error: BaseException) -> bool:
    """Whether it tells of too little memory, as Python, the loader of libraries, the system or C++ says it."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower().replace("_", " ")
    return any(words in text for words in _OF_MEMORY)
