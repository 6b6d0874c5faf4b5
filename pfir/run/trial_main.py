"""Opens a model in ONNX Runtime under limits of memory and time, then may run it; imports nothing of pfir.

Argument: JSON of bytes of memory, seconds of processor time, whether to run it as well, and
the model's path, "" where it comes on stdin. The last lines on stdout are what ONNX Runtime says against opening it and
against running it, as JSON.
"""

import json
import resource
import sys

SIZES = (1, 8, 64)
"""Of axes that a model leaves open, one after the other until it runs."""
KINDS = {"float": "float32", "double": "float64", "string": "object"}


def main(asked: str) -> None:
    """Open the model and, where that is asked for, run it."""
    wanted = json.loads(asked)
    for limit, value in (("CORE", 0), ("AS", wanted["memory"]), ("CPU", wanted["seconds"])):
        resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (value, value))
    session = told(lambda: opened(wanted["path"] or sys.stdin.buffer.read()))
    if session is not None and wanted["run"]:
        told(lambda: run_once(session))


def told(action):
    """What an action gives, once what is said against it is printed: null if nothing."""
    result = fault = None
    try:
        result = action()
    except UnicodeDecodeError:
        fault = "a text in it is not UTF-8"
    except Exception as error:  # noqa: BLE001 - whatever kind it is of, its text goes to the process that asked
        fault = "it takes too much memory" if "bad_alloc" in str(error) else str(error) or type(error).__name__
    print(f"\n{json.dumps(fault)}", flush=True)
    return result


def opened(model: str | bytes):
    """A session of the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_once(session) -> None:
    """Return if the model runs, at one of the sizes where its own are open; else raise what it said first."""
    faults = []
    for size in SIZES:
        try:
            session.run(None, {given.name: sample(given, size) for given in session.get_inputs()})
            return
        except Exception as error:  # noqa: BLE001 - of whatever kind, the first is raised in the end
            faults.append(error)
    raise faults[0]


def sample(given, size: int):
    """Zeros for floats, ones for integers, by which a model may divide; a first axis that is open has size one."""
    import numpy as np

    kind = given.type[len("tensor(") : -1]
    shape = [n if isinstance(n, int) and n >= 0 else size if axis else 1 for axis, n in enumerate(given.shape)]
    return (np.ones if "int" in kind else np.zeros)(shape, KINDS.get(kind, kind))


if __name__ == "__main__":
    main(sys.argv[1])
