import io
import json

import pytest

from pfir.commands.inspect import inspect_model, print_inspection
from pfir.errors import UsageError
from pfir.passes.base import Context
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run as run_passes
from tests.support.jobs import small_net, write_model
from tests.support.net import Net
from tests.support.structures import build


def test_groups_pins_and_cost_are_told_as_plain_data(model):
    found = json.loads(json.dumps(inspect_model(model, (), ())))
    groups = {g["name"]: g for g in found["groups"]}
    assert {n: g["channels"] for n, g in groups.items() if not g["pins"]} == {"Conv_1": 16, "Conv_4": 24, "Conv_7": 32}
    assert any("graph output" in p["reason"] for g in found["groups"] for p in g["pins"])
    assert found["cost"]["parameters"] == sum(t.values.size for t in small_net().initializers().values())


def test_kept_nodes_are_pinned(model):
    found = inspect_model(model, ("Conv_4",), ())
    assert "Conv_4" not in {g["name"] for g in found["groups"] if not g["pins"]}
    with pytest.raises(UsageError, match="Conv_99"):
        inspect_model(model, (), ("Conv_99",))


def test_the_text_counts_what_may_be_pruned(model):
    stream = io.StringIO()
    print_inspection(inspect_model(model, (), ()), stream)
    assert "3 of 4 groups may be pruned" in stream.getvalue() and "Conv_7" in stream.getvalue()
    assert "more" not in stream.getvalue()


def test_axes_that_no_layer_makes_or_reads_are_only_counted(tmp_path):
    path, stream = write_model(tmp_path, build("scanned_channels", 1)), io.StringIO()
    found = inspect_model(path, (), ())
    assert [g["name"] for g in found["groups"]] == ["Conv_1", "Conv_6", "Gemm_10"] and found["others"] == 3
    print_inspection(found, stream)
    assert "3 more, which no layer makes or reads, keep their size" in stream.getvalue()


def test_branches_that_may_go_are_told(tmp_path):
    net = Net(0)
    x = net.conv(net.input("N", 3, 8, 8), 3, 8)
    y = net.conv(net.relu(net.conv(x, 8, 6)), 6, 8)
    found = inspect_model(write_model(tmp_path, net.model((net.head(net.op("Add", y, x), 8),))), (), ())
    stream = io.StringIO()
    print_inspection(found, stream)
    assert found["branches"] == [{"name": "Conv_4", "groups": ["Conv_2"]}]
    assert "1 residual branch may go whole" in stream.getvalue()


def test_sizes_that_nobody_knows_hide_the_cost_only(tmp_path):
    net = Net(0)
    path = write_model(tmp_path, net.model((net.head(net.conv(net.input("N", 3, "H", "W"), 3, 8), 8),)))
    found = inspect_model(path, (), ())
    assert found["cost"] is None and len(found["groups"]) == 2
    assert "--input-shape in0=1x3x?x? with a number for each ?" in found["notes"][0]


def test_sizes_that_are_given_give_the_cost(tmp_path):
    net = Net(0)
    path = write_model(tmp_path, net.model((net.head(net.conv(net.input("N", 3, "H", "W"), 3, 8), 8),)))
    found = inspect_model(path, (), (), {"in0": (1, 3, 10, 10)})
    assert found["cost"]["macs"] == 3 * 8 * 9 * 100 + 8 * 3 and found["notes"] == []
    with pytest.raises(UsageError, match="the model fixes it to 3"):
        inspect_model(path, (), (), {"in0": (1, 4, 10, 10)})


def test_shared_biases_and_weights_in_constant_nodes_are_seen_as_passes_see_them(tmp_path):
    found = inspect_model(write_model(tmp_path, build("one_bias", 1)), (), ())
    assert sum(not g["pins"] for g in found["groups"]) == 3


def test_names_with_control_characters_are_shown_harmless(tmp_path):
    model = small_net()
    next(iter(model.nodes())).name = "evil\x1b[31m[bold]"
    stream = io.StringIO()
    print_inspection(inspect_model(write_model(tmp_path, model), (), ()), stream)
    assert "\x1b" not in stream.getvalue() and "[bold]" in stream.getvalue().replace("\n", "")


def test_bits_of_weights_out_of_codebooks_are_told(tmp_path):
    net = Net(0)
    net.output("y", net.head(net.relu(net.conv(net.input("N", 8, 6, 6), 8, 24)), 24))
    made, _ = run_passes([QuantizeCodebook(bits=3)], net.model(), Context())
    path = write_model(tmp_path, made)
    found = inspect_model(path, (), ())
    assert found["codebooks"] == [{"layer": "Conv_1", "weights": 1728, "bits": 3, "size_bytes": 1728 * 3 // 8 + 32}]
    stream = io.StringIO()
    print_inspection(found, stream)
    assert "codebooks: 1 layer, 3.00 bits a weight on average (Conv_1 3)" in stream.getvalue()
