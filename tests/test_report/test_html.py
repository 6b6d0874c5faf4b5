import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from pfir.report import Epoch, Kept, Trial, Width, build, page
from tests.test_report.sample import finished

EVIL = '<script>alert("x")</script>\u202e\x1b[31m'


def test_the_page_says_what_was_reached():
    text = page(build(finished()))
    assert "<h1>about 2.5x faster (estimate, ±25 %), 0.27 points of accuracy lost</h1>" in text
    assert "Goal met" in text and "Cortex-A72 at 1.5 GHz" in text and "verified on emulated aarch64" in text


def test_the_page_loads_nothing_from_elsewhere():
    text = page(build(finished()))
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", text)


def test_every_name_is_escaped():
    run = finished(
        model={"name": EVIL},
        goal=EVIL,
        passes=(EVIL,),
        command=EVIL,
        notes=(EVIL,),
        recipe={EVIL: EVIL},
        widths=(Width(EVIL, 8, 4),),
        kept=(Kept(EVIL, EVIL),),
        versions={EVIL: EVIL},
    )
    text = page(build(run))
    assert "<script" not in text and "\u202e" not in text and "\x1b" not in text
    assert "&lt;script&gt;" in text


def test_every_chart_is_well_formed():
    text = page(build(finished(100)))
    charts = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(charts) == 2 * 2 + 2  # the search and the widths are drawn wide and narrow
    for chart in charts:
        ElementTree.fromstring(chart)


def test_the_page_stands_without_trials_training_widths_and_stages():
    run = finished(trials=(), training=(), widths=(), stages=(), kept=(), passes=(), command="")
    text = page(build(run))
    assert "<svg" not in text and "Fine-tuning" not in text and "Search" not in text


def test_one_trial_and_one_epoch_are_drawn():
    run = finished(trials=(Trial(0.005, 0.9, True),))
    assert page(build(replace(run, training=run.training[:1]))).count("<svg") == 4


def test_figures_of_samples_held_back_are_drawn_where_there_are_any():
    def epoch(i):
        return Epoch(i, 1 / i, held_back_loss=None if i == 2 else 0.1 / i, held_back_accuracy=0.9)

    text = page(build(replace(finished(), training=tuple(map(epoch, (1, 2, 3))))))
    assert text.count("held-back loss over epoch") == text.count("held-back accuracy over epoch") == 1
    assert "held-back fidelity over" not in text and "90" in text
    assert "held-back accuracy" in page(build(replace(finished(), training=(epoch(1),))))


def test_long_lists_of_layers_start_folded():
    assert "<details open><summary>19 groups" in page(build(finished(19)))
    assert "<details><summary>100 groups" in page(build(finished(100)))


def test_without_labels_the_page_shows_fidelity():
    run = finished()
    text = page(build(replace(run, result=replace(run.result, accuracy=None, fidelity=0.81))))
    assert "<h1>about 2.5x faster (estimate, ±25 %), fidelity 0.810</h1>" in text and "do not ship" in text


def test_a_fidelity_on_generated_inputs_is_told_as_such():
    run = finished(fidelity_data="generated")
    text = page(build(replace(run, result=replace(run.result, accuracy=None, fidelity=0.95))))
    assert "fidelity 0.950 on generated inputs</h1>" in text
    assert "fidelity to the original on generated inputs, was 100.00&nbsp;%" in text
