"""Times one model with the onnxruntime of whichever interpreter runs this text; prints JSON, imports nothing of pfir.

Arguments: the model's path, threads, seconds to spend. The text is handed to `python -c`, so it also runs where pfir
is not installed and where Python is older or newer.
"""

import json
import sys
import time

import numpy as np


def main(path, threads, budget_s):
    """Seconds of single runs, at least 15 and at most 3000, after a few to warm up."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feeds = {given.name: sample(given, random) for given in session.get_inputs()}
    once = [timed(session, feeds) for _ in range(3)][-1]
    count = int(min(max(budget_s / once, 15), 3000))
    seconds = [timed(session, feeds) for _ in range(count)]
    print(json.dumps({"version": onnxruntime.__version__, "seconds": seconds}))


def sample(given, random):
    """Normal values for floats, zeros for anything else: what pfir's own measurements feed."""
    kinds = {"float": "float32", "double": "float64", "bool": "bool"}
    name = given.type[len("tensor(") : -1]
    dtype = kinds.get(name, name)
    if dtype.startswith("float"):
        return random.standard_normal(given.shape).astype(dtype)
    return np.zeros(given.shape, dtype)


def timed(session, feeds):
    """Seconds of one run."""
    start = time.perf_counter()
    session.run(None, feeds)
    return max(time.perf_counter() - start, 1e-9)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
