import pytest

from pfir.report import words


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.00124, "1.24 ms"),
        (35.04, "35.0 s"),
        (0.5, "500 ms"),
        (725.9, "12 min 5 s"),
        (3e-5, "30.0 µs"),
        (2e-8, "20.0 ns"),
        (None, "–"),
        (0, "0.00 ns"),
    ],
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize("databases, text", [
    ((), "none of 10 kernels tuned"),
    (({"name": "shipped", "sha256": "a" * 64, "kernels": 3},), "3 of 10 kernels tuned: shipped"),
    (({"name": "shipped", "sha256": "a" * 64, "kernels": 3}, {"name": "mine.json", "sha256": "b" * 64, "kernels": 2}),
     "5 of 10 kernels tuned: 3 shipped, 2 mine.json bbbbbbbbbbbb"),
])  # fmt: skip
def test_measured_kernels_are_counted_by_database(databases, text):
    assert words.tuned({"core": "c", "kernels": 10, "databases": databases, "choices": ""}) == text
    assert words.tuned(None) is None


def test_sizes_and_counts_have_three_digits():
    assert (words.size(3_438_948), words.size(512), words.size(None)) == ("3.44 MB", "512 B", "–")
    assert (words.count(125_490_000), words.count(47), words.count(4_700)) == ("125 M", "47", "4.70 k")


def test_points_say_lost_or_gained():
    assert words.points(0.0027) == "0.27 points lost"
    assert words.points(-0.001) == "0.10 points gained"
    assert words.points(0.00001) == "no accuracy lost"


def test_a_ratio_needs_both_sides():
    assert (words.ratio(5, 2), words.ratio(None, 2), words.ratio(5, 0)) == ("2.50x", "–", "–")
