"""What each method took off the weights: channels, zeros, bits, packing, in sum and layer by layer."""

from pfir.report import build, html, wording
from pfir.report.terminal import lines
from pfir.report.weights import Files, LayerWeight, Steps, Weights, steps_by_layer
from tests.test_report.sample import finished

BEFORE = (LayerWeight("a", "float32", 4000, 1000, 0), LayerWeight("b", "float32", 400, 100, 0))
FILES = Files(5000, 900, 300, graph_bytes=50)


def _steps(after):
    return steps_by_layer(Weights(BEFORE, after))["a"]


def test_each_method_takes_off_what_is_its_own():
    assert _steps((LayerWeight("a", "float32", 2000, 500, 0),)) == Steps(4000, 2000, 2000, 2000)
    assert _steps((LayerWeight("a", "float32", 4000, 1000, 900),)) == Steps(4000, 4000, 525, 525)
    assert _steps((LayerWeight("a", "codebook", 500, 1000, 0),)) == Steps(4000, 4000, 4000, 500)
    assert _steps((LayerWeight("a", "int8", 500, 500, 400),)) == Steps(4000, 2000, 462.5, 162.5)


def test_few_zeros_cost_nothing_and_a_layer_that_went_leaves_nothing():
    assert _steps((LayerWeight("a", "float32", 4000, 1000, 10),)) == Steps(4000, 4000, 4000, 4000)
    assert _steps(()) == Steps(4000)


def test_the_report_tells_the_steps_of_all_layers_and_of_each():
    after = (LayerWeight("a", "codebook", 250, 500, 250),)
    report = build(finished(weights=Weights(BEFORE, after), files=FILES))
    told = report["weights"]
    assert told["steps"] == {"before": 4400, "channels": 2000, "zeros": 1062, "bits": 188, "packed": 250}
    assert [each["layer"] for each in told["steps_by_layer"]] == ["a", "b"]
    assert told["steps_by_layer"][1] == {"layer": "b", "before": 400, "channels": 0, "zeros": 0, "bits": 0}
    assert wording.shrunk(report) == "4.40 kB, fewer channels 2.00 kB, zeros left out 1.06 kB, fewer bits 188 B"
    assert any(line.startswith("weights take: 4.40 kB") for line in lines(report, "out/"))
    page = html.page(report)
    assert "What made it smaller" in page and "gone" in page and "1.06 kB" in page


def test_what_is_only_packed_is_not_told():
    report = build(finished(weights=Weights(BEFORE, BEFORE), files=FILES))
    assert wording.shrunk(report) is None and "What made it smaller" not in html.page(report)
    assert wording.shrunk(build(finished())) is None
