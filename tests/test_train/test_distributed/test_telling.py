"""Progress and questions between the first worker and whoever started it."""

import threading

import numpy as np

from pfir.train.distributed.job import Places
from pfir.train.distributed.telling import Listener, Teller
from pfir.train.fitting.judges import NOBODY, Judges
from pfir.train.fitting.progress import Progress


def at(step, note=None):
    return Progress(1, 2, step, 10, 0.5, 0.1, 3.0, None, note)


def test_progress_is_heard_in_order_and_once(tmp_path):
    heard, places = [], Places(tmp_path)
    teller, listener = Teller(places), Listener(places, heard.append, NOBODY)
    listener.listen()
    teller.progress(at(1, "noted"))
    listener.listen()
    teller.progress(at(2, "noted"))
    teller.progress(at(3))  # too soon
    teller.progress(at(10))  # the last one is always told
    listener.listen()
    listener.listen()
    assert heard == [at(1, "noted"), at(2, "noted"), at(10)]


def test_half_a_line_waits_for_its_end(tmp_path):
    heard, places = [], Places(tmp_path)
    Teller(places).progress(at(1))
    whole = places.progress.read_bytes()
    listener = Listener(places, heard.append, NOBODY)
    places.progress.write_bytes(whole[:10])
    listener.listen()
    assert heard == []
    places.progress.write_bytes(whole)
    listener.listen()
    assert heard == [at(1)]


def test_a_question_is_answered(tmp_path):
    places, found = Places(tmp_path), []
    listener = Listener(
        places, lambda _: None, Judges(lambda arrays: arrays["w"].sum() / 3, lambda arrays: {"n": arrays["w"].size})
    )
    teller, arrays = Teller(places), {"w": np.ones(2)}
    asking = threading.Thread(target=lambda: found.extend((teller.score(arrays), teller.watch(arrays))))
    asking.start()
    while asking.is_alive():
        listener.listen()
    assert found == [2 / 3, {"n": 2}]
