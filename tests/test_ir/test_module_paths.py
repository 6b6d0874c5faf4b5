"""Nodes of torch exports by the paths of their modules."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse

SCOPES, NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"


def noted(node: onnx.NodeProto, *scopes: str, key: str = SCOPES) -> onnx.NodeProto:
    """A node with the metadata that torch 2.5 to 2.13 writes: all modules around it, then its name in the graph."""
    text = repr(list(scopes)) if key == SCOPES else "/".join(f"{s}: torch.nn.modules.conv.Conv2d" for s in scopes)
    node.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))
    return node


def exported(key: str = SCOPES) -> onnx.ModelProto:
    """conv1, then layer1.0 with conv1 (which took in a norm), relu and conv2, and a sum; as torch calls them."""
    shapes = {"conv1.weight": (6, 3, 1, 1), "layer1.0.conv1.weight": (6, 6, 1, 1), "val_3": (6, 6, 1, 1)}
    nodes = [
        noted(helper.make_node("Conv", ["x", "conv1.weight"], ["a"], "node_conv2d"), "", "conv1", "conv2d", key=key),
        noted(
            helper.make_node("Conv", ["a", "layer1.0.conv1.weight"], ["b"], "node_Conv_72"),
            "",
            "layer1",
            "layer1.0",
            "layer1.0.bn1",
            "_native_batch_norm",
            key=key,
        ),
        noted(
            helper.make_node("Relu", ["b"], ["c"], "node_relu"),
            "",
            "layer1",
            "layer1.0",
            "layer1.0.relu",
            "relu",
            key=key,
        ),
        noted(
            helper.make_node("Conv", ["c", "val_3"], ["d"], "node_Conv_73"),
            "",
            "layer1",
            "layer1.0",
            "layer1.0.conv2",
            "conv2d_2",
            key=key,
        ),
        noted(helper.make_node("Add", ["a", "d"], ["e"], "node_add"), "", "layer1", "layer1.0", "add", key=key),
        noted(helper.make_node("ReduceSum", ["e"], ["y"], "node_sum"), "", "sum", key=key),
    ]
    rng = np.random.default_rng(0)
    arrays = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    borders = [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 3, 4, 4]), ("y", [1, 1, 1, 1]))]
    graph = helper.make_graph(nodes, "main_graph", borders[:1], borders[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


PATHS = ["conv1", "layer1.0.conv1", "layer1.0.relu/node_relu", "layer1.0.conv2", "layer1.0/node_add", "node_sum"]


@pytest.mark.parametrize("key", [SCOPES, NAMESPACE])
def test_nodes_are_called_by_the_module_that_they_come_from(key):
    assert [n.name for n in Model.from_proto(exported(key)).nodes()] == PATHS


def test_the_file_keeps_its_names_and_its_metadata():
    proto = exported()
    model, _ = run(parse("prune-channels{ratio=0.5}"), Model.from_proto(proto), Context())
    written = onnx.ModelProto.FromString(model.to_bytes()).graph.node
    assert [n.name for n in written] == [n.name for n in proto.graph.node]
    assert [n.metadata_props for n in written] == [n.metadata_props for n in proto.graph.node]


@pytest.mark.parametrize("name", ["layer1.0.conv1", "node_Conv_72", "layer1.0.bn1"])
def test_a_node_is_known_by_its_path_its_name_in_the_file_and_its_own_module(name):
    coupling = channel_groups(Model.from_proto(exported()), keep=(name,))
    assert [(g.name, g.pins[0].reason) for g in coupling.groups if g.pins] == [("layer1.0.conv1", "kept by request")]


def test_a_module_stands_for_all_that_is_in_it():
    model = Model.from_proto(exported())
    assert names_meant(model.graph, "layer1") == tuple(PATHS[1:5])
    assert names_meant(model.graph, "layer1.0.conv") == () == names_meant(model.graph, "layer")


@pytest.mark.parametrize("name", ["layer1.0.conv1", "node_Conv_72"])
def test_ratios_take_both_names(name):
    model, _ = run(parse(f"prune-channels{{ratios={name}:0.5}}"), Model.from_proto(exported()), Context())
    assert [n.inputs[1].shape[0] for n in model.nodes() if n.op == "Conv"] == [6, 3, 6]


def test_an_unknown_name_is_met_with_paths():
    with pytest.raises(UsageError, match=r"no node called layer1.0.conv3; did you mean layer1.0.conv"):
        channel_groups(Model.from_proto(exported()), keep=("layer1.0.conv3",))


def test_names_that_say_something_stay_and_names_stay_apart():
    proto = exported()
    proto.graph.node[0].name, proto.graph.node[5].name = "stem.conv", "layer1.0.conv1"
    names = [n.name for n in Model.from_proto(proto).nodes()]
    assert names == ["stem.conv", "node_Conv_72", *PATHS[2:5], "layer1.0.conv1"]


def test_paths_of_the_older_exporter_are_read_from_its_names():
    proto = exported()
    for node in proto.graph.node:
        del node.metadata_props[:]
    proto.graph.node[3].name = "/layer1/layer1.0/conv2/Conv"
    assert names_meant(Model.from_proto(proto).graph, "layer1.0.conv2") == ("/layer1/layer1.0/conv2/Conv",)


@pytest.mark.parametrize("text", ["", "[", "['']", "not a list", "['a'" * 2000])
def test_metadata_that_mean_nothing_are_ignored(text):
    proto = exported()
    for node in proto.graph.node:
        node.metadata_props[0].value = text
    assert [n.name for n in Model.from_proto(proto).nodes()] == [n.name for n in proto.graph.node]
