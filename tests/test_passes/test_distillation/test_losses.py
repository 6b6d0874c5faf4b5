"""Loss terms equal their definitions."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.ir.model import Model
from pfir.passes.distillation import losses
from pfir.train.runtime import inference


def normal(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def value(build, **arrays) -> np.ndarray:
    """The output of `build(graph, inputs)` for these inputs."""
    taken = {n: gs.Variable(n, x.dtype, list(x.shape)) for n, x in arrays.items()}
    graph = gs.Graph(inputs=list(taken.values()), opset=13)
    graph.ir_version = 8
    graph.outputs = [build(graph, **taken)]
    return inference(Model(graph), 1).run(None, arrays)[0]


def log_softmax(x):
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def test_distillation_is_the_scaled_divergence_of_softened_classes():
    ours, theirs, t = normal(6, 5, seed=0), normal(6, 5, seed=1), 3.0
    got = value(lambda g, a, b: losses.distillation(g, a, b, t), a=ours, b=theirs)
    p, q = log_softmax(theirs / t), log_softmax(ours / t)
    np.testing.assert_allclose(got, t**2 * (np.exp(p) * (p - q)).sum(1).mean(), rtol=1e-5)


def test_distillation_of_equal_logits_is_zero():
    x = normal(6, 5, seed=0)
    assert abs(value(lambda g, a, b: losses.distillation(g, a, b, 4.0), a=x, b=x)) < 1e-6


def test_cross_entropy_is_the_mean_negative_log_likelihood():
    x, y = normal(6, 5, seed=0), np.array([0, 4, 2, 2, 1, 3])
    got = value(lambda g, x, y: losses.cross_entropy(g, x, losses.Labels(y)), x=x, y=y)
    np.testing.assert_allclose(got, -log_softmax(x)[np.arange(6), y].mean(), rtol=1e-5)


def test_smoothed_labels_share_out_what_they_give_up():
    x, y = normal(6, 5, seed=0), np.array([0, 4, 2, 2, 1, 3])
    got = value(lambda g, x, y: losses.cross_entropy(g, x, losses.Labels(y), smoothing=0.2), x=x, y=y)
    wanted = 0.8 * np.eye(5)[y] + 0.2 / 5
    np.testing.assert_allclose(got, -(wanted * log_softmax(x)).sum(1).mean(), rtol=1e-5)


def test_two_labels_count_by_their_shares():
    x, a, b = normal(6, 5, seed=0), np.array([0, 4, 2, 2, 1, 3]), np.array([1, 4, 0, 3, 3, 2])
    share = np.linspace(0, 1, 6).astype(np.float32)

    def build(g, x, a, b, share):
        return losses.cross_entropy(g, x, losses.Labels(a, b, share), smoothing=0.1)

    log = log_softmax(x)
    parts = [-((0.9 * np.eye(5)[y] + 0.1 / 5) * log).sum(1) for y in (a, b)]
    expected = (share * parts[0] + (1 - share) * parts[1]).mean()
    np.testing.assert_allclose(value(build, x=x, a=a, b=b, share=share), expected, rtol=1e-5)


def wing(e):
    """As the paper writes it, w = 0.5 and epsilon = 0.1."""
    return np.where(e < 0.5, 0.5 * np.log(1 + e / 0.1), e - (0.5 - 0.5 * np.log(1 + 0.5 / 0.1)))


@pytest.mark.parametrize(
    ("kind", "each"),
    [
        ("l2", np.square),
        ("l1", lambda e: e),
        ("huber", lambda e: np.where(e < 1, e**2 / 2, e - 0.5)),
        ("wing", wing),
    ],
)
def test_losses_of_values_are_means_over_errors_in_units_of_the_spread(kind, each):
    ours, theirs = normal(40, 5, seed=0), 3 * normal(40, 5, seed=1)
    variance = gs.Constant("v", np.array(4, np.float32))
    got = value(lambda g, a, b: losses.relative(g, a, b, variance, "e", kind), a=ours, b=theirs)
    np.testing.assert_allclose(got, each(np.abs(ours - theirs) / 2).mean(), rtol=1e-5)


def test_relative_error_is_one_for_a_constant_at_the_mean():
    y = normal(1000, 3, seed=0)
    variance = gs.Constant("v", np.array(y.var(), np.float32))
    got = value(lambda g, a, b: losses.relative(g, a, b, variance, "e"), a=np.full_like(y, y.mean()), b=y)
    np.testing.assert_allclose(got, 1, rtol=1e-4)


def test_the_total_is_the_weighted_sum():
    def build(g, a, b):
        variance = gs.Constant("v", np.array(1, np.float32))
        terms = [losses.relative(g, a, b, variance, "one"), losses.distillation(g, a, b, 2.0)]
        return losses.total(g, [(terms[0], 0.5), (terms[1], 0.25)])

    ours, theirs = normal(6, 5, seed=0), normal(6, 5, seed=1)
    p, q = log_softmax(theirs / 2), log_softmax(ours / 2)
    expected = 0.5 * np.square(ours - theirs).mean() + 0.25 * 4 * (np.exp(p) * (p - q)).sum(1).mean()
    np.testing.assert_allclose(value(build, a=ours, b=theirs), expected, rtol=1e-5)
