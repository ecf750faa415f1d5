"""Max-sensitivity against captum's, and repeatability."""

import itertools

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from captum.metrics import sensitivity_max
from scipy import stats
from torch import nn

import cnnviz
from cnnviz.errors import ParameterError
from cnnviz.evaluation.metric import load_metric
from cnnviz.evaluation.randomisation.agreement import ssim
from cnnviz.evaluation.robustness import repeatability, sensitivity
from tests.support.networks import Small, model_of

PICTURES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))


class Smooth(nn.Module):
    """Its gradient changes with the picture, smoothly."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        return self.fc(x.mean(dim=(2, 3)) ** 2)


def saliency(model, pictures, targets, _seed):
    return cnnviz.saliency(model, pictures, targets).heatmaps().upsampled()


def noise(_model, _pictures, targets, seed):
    return np.stack([np.random.default_rng([seed, row]).random((32, 32)) for row in range(len(targets))])


def steady(_model, _pictures, targets, _seed):
    return np.stack([np.arange(1024.0).reshape(32, 32)] * len(targets))


def nothing(_model, _pictures, targets, _seed):
    return np.zeros((len(targets), 32, 32))


@pytest.mark.parametrize("radius", [0.02, 0.3])
def test_sensitivity_is_captums_with_the_radius_in_pixels(radius):
    net = Smooth().double().eval()
    pictures, samples, std = PICTURES.double(), 10, 0.25
    drawn = torch.Generator().manual_seed(5)
    moves = torch.stack([torch.rand(3, 32, 32, generator=drawn) * 2 - 1 for _ in range(samples)]).double()
    top = net(pictures).argmax(dim=1)

    def first(inputs):
        return inputs[0] if isinstance(inputs, tuple) else inputs

    def explanation(inputs, target):
        return (Saliency(net).attribute(first(inputs).clone().requires_grad_(), target=target).amax(dim=1),)

    def perturb(inputs):
        return first(inputs) + radius / std * moves.repeat(len(pictures), 1, 1, 1)

    expected = sensitivity_max(explanation, pictures, perturb, n_perturb_samples=samples, target=top)
    found = sensitivity(model_of(net), pictures, None, {"saliency": saliency}, radius=radius, samples=samples, seed=5)
    np.testing.assert_allclose(found[0], expected.detach().numpy(), rtol=1e-5)
    assert float(moves.abs().max()) <= 1
    assert (found > 0.001).all()


def test_the_class_stays_that_of_the_unchanged_picture():
    model, asked = model_of(Small()), []

    def explain(_model, _pictures, targets, _seed):
        asked.append([each.index for each in targets])
        return noise(None, None, targets, 0)

    top = [each[0].target.index for each in cnnviz.predict(model, PICTURES, k=1)]
    sensitivity(model, PICTURES, None, {"asked": explain}, radius=3, samples=2)
    assert asked == [top] * 3


def test_changes_are_uniform_within_the_radius():
    seen = []

    def explain(_model, pictures, targets, _seed):
        seen.append(pictures.clone())
        return noise(None, None, targets, 0)

    sensitivity(model_of(Small()), PICTURES, 0, {"seen": explain}, radius=0.1, samples=5)
    assert torch.equal(seen[0], PICTURES)
    moves = torch.stack(seen[1:]) - PICTURES
    assert float(moves.abs().max()) == pytest.approx(0.4, rel=0.01)
    assert float(moves.std()) == pytest.approx(0.4 / 3**0.5, rel=0.02)
    torch.testing.assert_close(moves[:, :1].expand_as(moves), moves, atol=1e-5, rtol=0)


def test_closed_values_of_sensitivity():
    scales = itertools.count()

    def growing(_model, _pictures, targets, _seed):
        scale = next(scales)
        return np.stack([np.full((32, 32), 1.0 + scale * (row + 1)) for row in range(len(targets))])

    def with_gaps(model, pictures, targets, seed):
        found = steady(model, pictures, targets, seed)
        found[:, :4] = np.nan
        return found

    methods = {"growing": growing, "gaps": with_gaps, "nothing": nothing, "noise": noise}
    found = sensitivity(model_of(Small()), PICTURES, 0, methods, samples=3)
    np.testing.assert_allclose(found[0], [3, 6, 9, 12])
    np.testing.assert_array_equal(found[1], 0)
    assert np.isnan(found[2]).all()
    assert found[3] == pytest.approx(0.5**0.5, rel=0.08)


def test_the_same_seed_gives_the_same_sensitivity():
    model, methods = model_of(Smooth()), {"saliency": saliency, "noise": noise}
    first = sensitivity(model, PICTURES, None, methods, samples=3, seed=1)
    torch.manual_seed(9)
    assert np.array_equal(first, sensitivity(model, PICTURES, None, methods, samples=3, seed=1))
    assert (first != sensitivity(model, PICTURES, None, methods, samples=3, seed=2)).all()
    metric, function = load_metric("sensitivity")
    assert function is sensitivity
    assert metric.better(0.1, 0.5)


def test_repeatability_is_the_mean_correlation_of_all_pairs_of_seeds():
    methods = {"noise": noise, "steady": steady, "nothing": nothing}
    found = repeatability(model_of(Small()), PICTURES, None, methods, seed=3, draws=3)
    maps = [noise(None, None, [0] * 4, seed).astype(np.float32) for seed in (3, 4, 5)]
    pairs = list(itertools.combinations(range(3), 2))
    expected = [
        np.mean([stats.spearmanr(maps[a][row].ravel(), maps[b][row].ravel()).statistic for a, b in pairs])
        for row in range(4)
    ]
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    np.testing.assert_allclose(found[1], 1)
    np.testing.assert_array_equal(found[2], 0)
    alike = repeatability(model_of(Small()), PICTURES, None, {"noise": noise}, seed=3, draws=2, similarity="ssim")
    np.testing.assert_allclose(alike[0], [ssim(a, b) for a, b in zip(maps[0], maps[1], strict=True)], atol=1e-12)
    metric, function = load_metric("repeatability")
    assert function is repeatability
    assert metric.better(0.5, 0.1)


def test_a_method_that_draws_masks_is_less_repeatable_than_one_that_draws_nothing():
    def rise(model, pictures, targets, seed):
        return cnnviz.rise(model, pictures, targets, masks=20, seed=seed).upsampled()

    found = repeatability(model_of(Small()), PICTURES[:2], None, {"rise": rise, "saliency": saliency}, draws=2)
    assert (found[0] < 0.99).all()
    np.testing.assert_allclose(found[1], 1)


@pytest.mark.parametrize("given", [{"radius": 0}, {"radius": float("nan")}, {"samples": 0}])
def test_settings_of_sensitivity_that_are_none(given):
    with pytest.raises(ParameterError, match="expected both to be positive"):
        sensitivity(model_of(Small()), PICTURES, 0, {"noise": noise}, **given)


def test_settings_of_repeatability_that_are_none():
    with pytest.raises(ParameterError, match="draws is 1; expected at least 2"):
        repeatability(model_of(Small()), PICTURES, 0, {"noise": noise}, draws=1)
    with pytest.raises(ParameterError, match="similarity is 'hog'; expected one of spearman, ssim"):
        repeatability(model_of(Small()), PICTURES, 0, {"noise": noise}, similarity="hog")


@pytest.mark.parametrize("measure", [sensitivity, repeatability])
def test_the_network_comes_back_also_after_an_exception(measure):
    net = Small().train()
    model, before, calls = model_of(net), {k: v.clone() for k, v in net.state_dict().items()}, itertools.count()

    def explain(model, pictures, targets, seed):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return saliency(model, pictures, targets, seed)

    random = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        measure(model, PICTURES, None, {"saliency": explain})
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.training for part in net.modules())
    assert torch.equal(random, torch.get_rng_state())
