"""The model-randomisation test: similarities of maps when a network forgets, and what they are compared with."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import cnnviz
from cnnviz.catalogue import proper_name
from cnnviz.errors import ExplanationError, ParameterError, UsageError
from cnnviz.evaluation.controls import CONTROLS
from cnnviz.evaluation.metric import load_metric
from cnnviz.evaluation.randomisation.agreement import is_constant, spearman, ssim, value_entropy
from cnnviz.evaluation.randomisation.cascade import Cascade
from cnnviz.evaluation.randomisation.mprt import floor, mprt, randomisation, similarity_between
from cnnviz.evaluation.randomisation.strip import draw_strip
from tests.support.networks import Small, model_of

PICTURES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
RNG = np.random.default_rng(0)
RANDOM = RNG.random((3, 32, 32)).astype(np.float32)


class Linear(nn.Module):
    """Two linear layers, whose weights are the maps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3 * 32 * 32, 4), nn.Linear(4, 5)

    def forward(self, x):
        return self.second(self.first(x.flatten(1)))


def weights_of(model, pictures, targets, _seed):
    """For each picture the first layer's weights of a channel, whatever picture it is."""
    held = model.module.first.weight.detach().numpy()
    return np.stack([held[0].reshape(3, 32, 32)[row % 3] for row in range(len(targets))])


def tops_of(model, _pictures, targets, _seed):
    """The last layer's weights, enlarged."""
    return np.stack([np.kron(model.module.second.weight.detach().numpy()[:4], np.ones((8, 8)))] * len(targets))


def edges(model, pictures, targets, _seed):
    inputs = pictures if isinstance(pictures, torch.Tensor) else torch.stack([model.preprocess(p)[0] for p in pictures])
    return np.stack([CONTROLS["edges"](each.numpy(), 0) for each in inputs])


def nothing(_model, _pictures, targets, _seed):
    return np.full((len(targets), 32, 32), 0.3, np.float32)


def noise(_model, _pictures, targets, seed):
    return np.stack([np.random.default_rng([seed, row]).random((32, 32)) for row in range(len(targets))])


def gradients(model, pictures, targets, _seed):
    return cnnviz.saliency(model, pictures, targets).heatmaps().upsampled()


# How alike two maps are


def test_rank_correlation_is_that_of_mean_ranks():
    one, other = RNG.normal(size=(24, 20)).round(1), RNG.normal(size=(24, 20)).round(1)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-12)
    assert spearman(one, one**3) == pytest.approx(1, abs=1e-12)
    assert spearman(one, -one) == pytest.approx(-1, abs=1e-12)
    masked = one.copy()
    masked[:5], masked[9, 9] = np.nan, np.inf
    known = np.isfinite(masked)
    assert spearman(masked, other) == pytest.approx(stats.spearmanr(one[known], other[known]).statistic, abs=1e-12)


def test_structural_similarity_of_one_window_is_the_formula():
    one, other = RNG.random((11, 11)), RNG.random((11, 11)) - 0.3
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    a, b = one / one.max(), other / np.abs(other).max()
    means = (window * a).sum(), (window * b).sum()
    variances = [(window * (each - mean) ** 2).sum() for each, mean in zip((a, b), means, strict=True)]
    together = (window * (a - means[0]) * (b - means[1])).sum()
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    expected = (2 * means[0] * means[1] + c1) * (2 * together + c2)
    expected /= (means[0] ** 2 + means[1] ** 2 + c1) * (sum(variances) + c2)
    assert ssim(one, other) == pytest.approx(expected, abs=1e-12)


def test_structural_similarity_of_equal_maps_is_one_and_of_noise_almost_nothing():
    one, other = RNG.random((2, 224, 224))
    assert ssim(one, 7 * one) == pytest.approx(1)
    assert abs(ssim(one, other)) < 0.02
    assert ssim(one, one - 0.5) < 0.9
    assert ssim(one[:4, :6], one[:4, :6]) == pytest.approx(1)


def test_structural_similarity_looks_at_whole_windows_with_values():
    one, other = RNG.random((40, 40)), RNG.random((40, 40))
    holed = one.copy()
    holed[:, :12] = np.nan
    tail = ssim(one[:, 12:] / one[:, 12:].max(), other[:, 12:] / other[:, 12:].max())
    assert ssim(holed, other) == pytest.approx(tail, abs=1e-12)
    sparse = one.copy()
    sparse[::10, ::10] = np.nan
    assert ssim(sparse, other) == 0


@pytest.mark.parametrize(
    "blank",
    [np.zeros((9, 9)), np.full((9, 9), -2.5), np.full((9, 9), np.nan), np.where(np.eye(9), np.nan, 1),
     1 + 1e-8 * np.arange(81).reshape(9, 9)],
)  # fmt: skip
def test_a_constant_map_counts_zero(blank):
    other = RNG.random((9, 9))
    assert is_constant(blank)
    assert not is_constant(other)
    for alike in (spearman, ssim):
        assert alike(blank, other) == alike(other, blank) == alike(blank, blank) == 0
    assert value_entropy(blank) == 0


def test_entropy_of_values_is_that_of_their_histogram():
    quarters = np.repeat([0.0, 1.0, 5.0, np.nan], 25).reshape(10, 10)
    assert value_entropy(quarters) == pytest.approx(math.log(3))
    assert value_entropy(np.arange(100.0).reshape(10, 10)) == pytest.approx(math.log(100))
    assert value_entropy(np.arange(100.0).reshape(10, 10), bins=4) == pytest.approx(math.log(4))


# The test


def test_similarity_is_that_of_the_drawn_networks_maps():
    model = model_of(Linear())
    methods = {"weights": weights_of, "top": tops_of}
    found = mprt(model, PICTURES, 0, methods, depths=(0.5, 1), seeds=(4, 9))
    assert found.layers == ("first", "second")
    for (place, depth), (number, seed) in itertools.product(enumerate((0.5, 1)), enumerate((4, 9))):
        network = Cascade(model, PICTURES, seed=seed).draw(depth)
        for row, method in enumerate(methods.values()):
            before, after = (method(each, PICTURES, [0] * 3, 0) for each in (model, network))
            expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(before, after, strict=True)]
            np.testing.assert_allclose(found.similarities["spearman"][row, :, place, number], expected, atol=1e-12)
            alike = [ssim(a, b) for a, b in zip(before, after, strict=True)]
            np.testing.assert_allclose(found.similarities["ssim"][row, :, place, number], alike, atol=1e-12)
    np.testing.assert_allclose(found.at(0.5)[0], 1)
    assert (np.abs(found.at(1)[0]) < 0.1).all()
    np.testing.assert_allclose(found.values(), (found.at(0.5) + found.at(1)) / 2)
    assert not found.constant.any()
    assert found.checks == ()


def test_what_ignores_the_network_stays_and_noise_is_new():
    found = mprt(model_of(Small()), PICTURES, None, {"edges": edges, "noise": noise}, depths=(0.5, 1), seeds=(0, 1))
    np.testing.assert_allclose(found.similarities["spearman"][0], 1)
    np.testing.assert_allclose(found.similarities["ssim"][0], 1)
    np.testing.assert_allclose(found.rise[0], 0)
    assert np.abs(found.similarities["spearman"][1]).max() < 0.15
    np.testing.assert_allclose(found.edges["spearman"][0], 1, atol=1e-6)
    np.testing.assert_allclose(found.edge_map, edges(None, PICTURES * 0.25, [0], 0)[0], rtol=1e-4, atol=1e-5)


def test_constant_maps_count_zero_and_are_counted():
    def dying(model, pictures, targets, seed):
        """Maps of a network whose last layer is drawn: only the first picture's differ from place to place."""
        found = noise(model, pictures, targets, seed)
        if model.module is not network.module:
            found[1:] = 0
        return found

    network = model_of(Small())
    found = mprt(network, PICTURES, None, {"dying": dying, "nothing": nothing}, depths=(1,), seeds=(0, 1))
    assert found.constant[:, :, 0].tolist() == [[[False] * 2, [True] * 2, [True] * 2], [[True] * 2] * 3]
    for values in found.similarities.values():
        assert (values[found.constant] == 0).all()
    assert found.checks == ("10 of 12 maps are constant where layers are randomised, which counts as similarity 0",)
    assert (found.rise[0, 1:] == 0).all()
    assert np.isnan(found.rise[1]).all()


def test_entropy_rises_by_its_own_share():
    def maps(model, _pictures, targets, _seed):
        drawn = model.module is not network.module
        return np.stack(
            [np.kron([[0.0, 1.0], [1.0, 0.0]] if not drawn else [[0.0, 1], [2, 3]], np.ones((16, 16)))] * len(targets)
        )

    network = model_of(Small())
    found = mprt(network, PICTURES, None, {"maps": maps}, depths=(0.5, 1), seeds=(0, 1))
    np.testing.assert_allclose(found.rise, 1)
    assert np.isnan(mprt(network, PICTURES, None, {"maps": maps}, depths=(0.5,), seeds=(0,)).rise).all()


def test_the_class_stays_that_of_the_trained_network():
    asked = []

    def explain(_model, _pictures, targets, _seed):
        asked.append([each.index for each in targets])
        return noise(None, None, targets, 0)

    model = model_of(Small())
    top = [each[0].target.index for each in cnnviz.predict(model, PICTURES, k=1)]
    mprt(model, PICTURES, None, {"asked": explain}, depths=(0.5, 1), seeds=(0,))
    assert asked == [top] * 3


def test_a_method_that_cannot_explain_a_drawn_network_has_a_constant_map_there():
    def picky(model, pictures, targets, _seed):
        if model.module is not network.module and any(float(each.mean()) > threshold for each in pictures):
            raise ExplanationError("no gradient")
        return np.stack([each[0].numpy() for each in pictures])

    network = model_of(Small())
    threshold = sorted(float(each.mean()) for each in PICTURES)[-1] - 1e-6
    largest = int(np.argmax([float(each.mean()) for each in PICTURES]))
    found = mprt(network, PICTURES, None, {"picky": picky}, depths=(1,), seeds=(0,))
    assert found.constant.ravel().tolist() == [row == largest for row in range(3)]
    np.testing.assert_allclose(np.delete(found.at(1)[0], largest), 1)

    def failing(*_):
        raise ExplanationError("no gradient")

    with pytest.raises(ExplanationError, match="no gradient"):
        mprt(network, PICTURES, None, {"failing": failing})


def test_smooth_maps_are_means_over_noisy_pictures():
    seen = []

    def explain(_model, pictures, targets, _seed):
        seen.append(pictures.clone())
        return pictures[:, 0].numpy()

    found = mprt(model_of(Small()), PICTURES, 0, {"own": explain}, depths=(1,), seeds=(0,), samples=20, noise=0.1)
    assert len(seen) == 40
    added = torch.stack(seen[:20]) - PICTURES
    assert torch.allclose(added[:, :1].expand_as(added), added, atol=1e-5)
    assert float(added.std()) == pytest.approx(0.1 / 0.25, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(found.maps[0, 0], torch.stack(seen[:20]).mean(dim=0)[0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(found.similarities["spearman"], 1)


def test_the_same_seeds_give_the_same_values():
    model, methods = model_of(Small()), {"saliency": gradients, "noise": noise}
    torch.manual_seed(5)
    first = mprt(model, PICTURES, None, methods, depths=(0.5, 1), seeds=(0, 1))
    torch.manual_seed(6)
    again = mprt(model, PICTURES, None, methods, depths=(0.5, 1), seeds=(0, 1))
    for name in ("spearman", "ssim"):
        assert np.array_equal(first.similarities[name], again.similarities[name])
    straight = mprt(model, PICTURES, None, {"saliency": gradients}, depths=(1,), seeds=(1,))
    assert np.array_equal(straight.at(1)[0], first.similarities["spearman"][0, :, 1, 1])


def test_statistics_come_from_the_pictures_that_are_named():
    model = model_of(Small())
    own, others = (
        mprt(model, PICTURES[:1], 0, {"saliency": gradients}, depths=(1,), seeds=(0,), calibration=each)
        for each in (None, PICTURES)
    )
    network = Cascade(model, PICTURES, seed=0).draw(1)
    expected = spearman(gradients(model, PICTURES[:1], [0], 0)[0], gradients(network, PICTURES[:1], [0], 0)[0])
    assert others.at(1)[0, 0] == pytest.approx(expected, abs=1e-12)
    assert own.at(1)[0, 0] != others.at(1)[0, 0]


def test_the_network_comes_back_also_after_an_exception():
    net = Small().train()
    model, before = model_of(net), {name: value.clone() for name, value in net.state_dict().items()}
    calls = itertools.count()

    def explain(model, pictures, targets, seed):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return gradients(model, pictures, targets, seed)

    random = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        mprt(model, PICTURES, None, {"saliency": explain})
    mprt(model, PICTURES, None, {"saliency": gradients}, depths=(1,), seeds=(0,))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.training for part in net.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "given",
    [{"depths": ()}, {"depths": (0, 1)}, {"depths": (1, 0.5)}, {"depths": (0.5, 0.5)}, {"depths": (0.5, 2)},
     {"seeds": ()}, {"samples": -1}, {"noise": float("nan")}],
)  # fmt: skip
def test_settings_that_are_none(given):
    with pytest.raises(ParameterError, match="expected"):
        mprt(model_of(Small()), PICTURES, 0, {"noise": noise}, **given)


def test_values_of_depths_and_similarities_that_are_not_there():
    found = mprt(model_of(Small()), PICTURES, 0, {"noise": noise}, depths=(1,), seeds=(0,))
    with pytest.raises(ParameterError, match=r"depth is 0\.5; expected one of 1"):
        found.at(0.5)
    with pytest.raises(ParameterError, match="similarity is 'hog'; expected one of spearman, ssim"):
        found.values("hog")


def test_maps_of_another_shape_are_refused():
    with pytest.raises(UsageError, match=r"expected one map each, \(N, H, W\)"):
        mprt(model_of(Small()), PICTURES, 0, {"odd": lambda *_: np.zeros((3, 1, 32, 32))})
    with pytest.raises(UsageError, match="the size of its input"):
        mprt(model_of(Small()), PICTURES, 0, {"odd": lambda *_: np.zeros((3, 8, 8))})


# What it is compared with


def test_the_floor_is_the_mean_over_other_pictures():
    a, b, c = RANDOM
    expected = [np.mean([spearman(a, b), spearman(a, c)]), np.mean([spearman(b, a), spearman(b, c)])]
    expected.append(np.mean([spearman(c, a), spearman(c, b)]))
    np.testing.assert_allclose(similarity_between(RANDOM), expected, atol=1e-12)
    assert np.isnan(similarity_between(RANDOM[:1])).all()
    many = RNG.random((20, 6, 6))
    expected = np.mean([ssim(many[15], many[at % 20]) for at in range(16, 24)])
    assert similarity_between(many, "ssim")[15] == pytest.approx(expected, abs=1e-12)


def test_the_metrics_have_one_form():
    model, methods = model_of(Small()), {"saliency": gradients, "noise": noise}
    metric, function = load_metric("randomisation")
    assert function is randomisation
    assert not metric.better(0.5, 0.1)
    found = function(model, PICTURES, None, methods, seed=3, depths=(0.5, 1), draws=2)
    whole = mprt(model, PICTURES, None, methods, depths=(0.5, 1), seeds=(3, 4), seed=3)
    assert np.array_equal(found, whole.values())
    _, function = load_metric("floor")
    assert function is floor
    found = function(model, PICTURES, None, methods, seed=3)
    assert np.array_equal(found[0], similarity_between(gradients(model, PICTURES, None, 0)))
    assert np.array_equal(found[1], similarity_between(noise(None, None, [0] * 3, 3).astype(np.float32)))


# The strip


def test_the_strip_has_a_row_a_method_and_a_column_a_depth():
    methods = {"saliency": gradients, "nothing": nothing}
    found = mprt(model_of(Small()), PICTURES, None, methods, depths=(0.5, 1), seeds=(0, 1))
    sheet = draw_strip(found).sheet
    assert sheet.row_headings == (proper_name("saliency"), "nothing", "Sobel edges")
    assert sheet.column_headings == ("", "trained", "top 50%", "all layers")
    assert sheet.rows[0][0].caption == f"input 1\n{found.targets[0]}"
    assert sheet.rows[1][0] is sheet.rows[2][0] is None
    first = found.similarities["spearman"][0, 0, :, 0]
    said = [f"{round(each, 2) + 0:.2f}".replace("-", "\N{MINUS SIGN}") for each in first]
    assert [cell.caption for cell in sheet.rows[0][2:]] == said
    assert sheet.rows[0][1].caption == f"floor {found.floor['spearman'][0].mean():.2f}"
    assert [cell.caption for cell in sheet.rows[1][2:]] == ["constant: 0"] * 2
    assert [cell.caption for cell in sheet.rows[2][1:]] == ["", "1.00", "1.00"]
    assert np.array_equal(sheet.rows[2][1].pixels, sheet.rows[2][3].pixels)
    assert any("12 of 24 maps are constant" in note for note in sheet.notes)
    assert draw_strip(found).pixels().shape[2] == 3


def test_the_strip_of_one_picture_has_no_floor(tmp_path):
    found = mprt(model_of(Small()), PICTURES[:1], None, {"saliency": gradients}, depths=(1,), seeds=(0,))
    grid = draw_strip(found)
    assert grid.sheet.rows[0][1].caption == ""
    assert len(grid.sheet.notes) == 1
    assert grid.save(tmp_path / "strip.png", columns=1).stat().st_size > 0
