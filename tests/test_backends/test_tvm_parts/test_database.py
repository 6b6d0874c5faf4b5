"""What was measured is found for exactly that work on that core, and builds the same library again."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import pytest

from pfir.artifact import Database
from pfir.backends.base import UNTUNED
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.families import candidates
from pfir.backends.tvm.library import store
from pfir.backends.tvm.tuning import database
from pfir.backends.tvm.tuning.database import NOTHING, SHIPPED, Entry, Known, add, core_name, known, read, sha256
from pfir.backends.tvm.tuning.tunable import group_kernels
from pfir.errors import UsageError
from pfir.target import known_targets, parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends.bundle import sized, under_construction

ARM = parse_target("arm")
WORK = Workload("conv", (1, 16, 8, 8), (1, 16, 8, 8), (0, 2, 3, 1), (3, 3), pads=(1, 1))
SECOND = str(candidates(ARM, WORK)[1])


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch, tmp_path):
    monkeypatch.setattr(database, "user_file", lambda: tmp_path / "nowhere.json")
    monkeypatch.setattr(store, "_folder", lambda: tmp_path / "libraries")


def _net() -> Net:
    b = under_construction()
    x = b.op("Relu", b.op("Conv", b.input(1, 16, 8, 8), b.w(16, 16, 1, 1)))
    b.output("y", b.op("Conv", x, b.w(16, 16, 3, 3), pads=[1] * 4))
    return b


def test_a_measured_way_is_found_for_exactly_its_work():
    found = Known({str(WORK): Entry(SECOND)})
    assert str(found.schedule(ARM, WORK)) == SECOND
    assert found.schedule(ARM, replace(WORK, after="reads")) is None


def test_a_way_that_is_not_proposed_is_passed_over():
    assert Known({str(WORK): Entry("tile of another version")}).schedule(ARM, WORK) is None


def test_a_core_has_its_own_entries(tmp_path):
    path = tmp_path / "kernels.json"
    add(path, ARM, {str(WORK): Entry(SECOND, 1.1)})
    assert known(ARM, path).schedule(ARM, WORK) is not None
    for other in ("arm:cortex-a76", "arm,threads=2", "armv7", "host"):
        assert not set(known(parse_target(other), path).entries) & {str(WORK)}


def test_cores_that_differ_in_code_have_different_names():
    names = [core_name(target) for target in known_targets()]
    different = {(t.triple.partition("-")[0], t.core.name, t.cpu, t.features) for t in known_targets()}
    assert len(set(names)) == len(different)


def test_adding_keeps_what_was_not_measured_again(tmp_path):
    path = tmp_path / "deep" / "kernels.json"
    add(path, ARM, {"a": Entry("1", 1.1, "board", "0.27"), "b": Entry("2")})
    add(path, parse_target("armv7"), {"a": Entry("3")})
    add(path, ARM, {"b": Entry("4")})
    assert read(path)[core_name(ARM)] == {"a": Entry("1", 1.1, "board", "0.27"), "b": Entry("4")}
    assert read(path)[core_name(parse_target("armv7"))] == {"a": Entry("3")}


def test_the_users_entries_come_first_and_a_named_file_instead_of_them(monkeypatch, tmp_path):
    shipped, user, named = (tmp_path / f"{name}.json" for name in ("shipped", "user", "named"))
    for path, schedule in ((shipped, "1"), (user, "2"), (named, "3")):
        add(path, ARM, {"work": Entry(schedule, 1.1), schedule: Entry(schedule, 1.1)})
    monkeypatch.setattr(database, "SHIPPED", shipped)
    assert known(ARM).entries["work"].schedule == "1"
    monkeypatch.setattr(database, "user_file", lambda: user)
    assert known(ARM).entries["work"].schedule == "2" and known(ARM).entries["1"].schedule == "1"
    assert known(ARM, named).entries["work"].schedule == "3" and "2" not in known(ARM, named).entries


def test_a_way_that_was_not_beaten_says_nothing_but_hides_what_ships(monkeypatch, tmp_path):
    shipped, user = tmp_path / "shipped.json", tmp_path / "user.json"
    add(shipped, ARM, {"work": Entry("1", 1.1), "other": Entry("1", 1.1)})
    add(user, ARM, {"work": Entry("2", 1.0)})
    monkeypatch.setattr(database, "SHIPPED", shipped)
    assert set(known(ARM, user).entries) == {"other"}


def test_what_is_known_tells_where_from(monkeypatch, tmp_path):
    shipped, user = tmp_path / "shipped.json", tmp_path / "mine.json"
    add(shipped, ARM, {"a": Entry("1", 1.1), "b": Entry("1", 1.1)})
    add(user, ARM, {"b": Entry("2", 1.1)})
    monkeypatch.setattr(database, "SHIPPED", shipped)
    assert known(ARM, user).sources == {"a": ("shipped", sha256(shipped)), "b": ("mine.json", sha256(user))}
    assert known(ARM, UNTUNED) == NOTHING


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"format": 2, "cores": {}}',
        '{"format": 1}',
        '{"format": 1, "cores": {"a": {"b": {"c": 1}}}}',
        '{"format": 1, "cores": {"a": 3}}',
        '{"format": 1, "cores": {"a": {"b": {"way": 3}}}}',
        "3",
        "NaN",
        "\udcff\x00",
        '{"format": 1, "cores": {"a": {"b": {"way": "c", "gain": "fast"}}}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        None,
    ],
)
def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    path = tmp_path / "kernels.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match="no database of measured kernels.*remove it, or build without it") as caught:
        known(ARM, path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert content is None or path.read_bytes() == content.encode(errors="surrogateescape")


def test_a_pipe_or_a_folder_or_an_impossible_name_is_no_database(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UsageError, match="no database of measured kernels"):
            known(ARM, path)


def test_a_cache_that_is_no_folder_is_one_without_a_database(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(database, "user_file", lambda: tmp_path / "file" / "kernels.json")
    assert [name for name, _ in database.databases()] == ["shipped"]


def test_a_disk_that_is_full_leaves_the_database_as_it_was(monkeypatch, tmp_path):
    path = tmp_path / "kernels.json"
    add(path, ARM, {"work": Entry("way")})
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(database.os, "replace", full)
    with pytest.raises(UsageError, match="cannot be written: No space left"):
        add(path, ARM, {"other": Entry("way")})
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        add(tmp_path / "file" / "kernels.json", ARM, {})


def test_a_library_is_built_as_was_measured_and_the_same_each_time(tmp_path):
    path, model = tmp_path / "kernels.json", sized(_net())
    kernel = list(group_kernels(model, ARM).values())[1]
    found = [str(schedule) for schedule in candidates(ARM, kernel.workload)]

    def built(schedule: str) -> bytes:
        add(path, ARM, {str(kernel.workload): Entry(schedule, 1.1)})
        return TvmBackend(path).build(model, ARM).files["model.so"]

    modelled = TvmBackend().build(model, ARM).files["model.so"]
    assert built(found[0]) == modelled != built(found[1])
    assert len(list((tmp_path / "libraries").glob("*.so"))) == 3  # each under a key of its own


def test_the_kernels_that_were_measured_are_counted(tmp_path):
    path, model = tmp_path / "mine.json", sized(_net())
    kernels = list(group_kernels(model, ARM).values())
    second = str(candidates(ARM, kernels[0].workload)[1])
    add(path, ARM, {str(kernels[0].workload): Entry(second, 1.1), "of another model": Entry("x", 1.1)})
    found, none = (TvmBackend(tuned).tuning(model, ARM) for tuned in (path, "none"))
    assert (found.core, found.kernels) == (core_name(ARM), len(kernels)) == (none.core, none.kernels)
    assert found.databases == (Database("mine.json", sha256(path), 1),) and none.databases == ()
    assert found.choices != none.choices


def test_a_file_that_is_no_database_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.json is no database"):
        TvmBackend(tmp_path / "nowhere.json")


def test_what_is_known_is_part_of_a_librarys_key():
    model = sized(_net())
    known_ways = [str(Known()), str(Known({"work": Entry("1")})), str(Known({"work": Entry("2", gain=1.5)}))]
    assert len({store.key(model, ARM, text, 0.0) for text in known_ways}) == 3
    assert str(Known({"work": Entry("2")})) == known_ways[2]


def _work(text: str) -> Workload:
    """The work of a name."""
    family, _, sizes, *fields, after = text.split()
    data, out = (tuple(int(n) for n in part.split("x")) for part in sizes.split("->"))
    given = dict(field.split("=") for field in fields)
    order, group = tuple(int(axis) for axis in given.pop("order")), int(given.pop("group", 1))
    pairs = {name: tuple(int(n) for n in value.split("x")) for name, value in given.items()}
    return Workload(family, data, out, order, group=group, after=after, **pairs)


def test_every_shipped_entry_names_work_and_a_way_that_is_proposed_but_not_modelled():
    targets = {core_name(target): target for target in known_targets()}
    for core, entries in json.loads(SHIPPED.read_text())["cores"].items():
        architecture, name, *_ = core.split()
        target = targets.get(core) or _x86(name)
        assert core_name(target) == core and architecture in target.triple
        for text, entry in entries.items():
            workload = _work(text)
            assert str(workload) == text
            assert entry["way"] in [str(schedule) for schedule in candidates(target, workload)][1:]
            assert entry["gain"] >= 1.03 and entry["device"] and entry["tvm"]


def _x86(name: str):
    """An x86 core that this machine may not be."""
    target = parse_target("x86-64:x86-64-v4")
    return replace(target, cpu=name, core=replace(target.core, name=name, l2_bytes=1 << 20))
