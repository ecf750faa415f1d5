"""Calibration: reliability by hand and as torchmetrics has it, and temperatures that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz.auditing.calibration import calibrate, fit_temperature, reliability


def logits_and_truth(number: int, classes: int, temperature: float, seed: int = 0):
    """Logits whose probabilities are right once they are divided by a temperature."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (number, classes))
    shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = (shares.cumsum(axis=1) > rng.random((number, 1))).argmax(axis=1)
    return (honest * temperature).astype(np.float32), truth


def test_bins_are_closed_on_the_left_and_one_is_in_the_last():
    confidence = np.array([0.2, 0.2, 0.4, 0.5, 1.0], np.float32)
    found = reliability(confidence, np.array([True, False, True, True, True]), bins=5)
    assert found.counts.tolist() == [0, 2, 2, 0, 1]
    assert found.accuracy[1] == 0.5
    assert found.confidence[[1, 2, 4]] == pytest.approx([0.2, 0.45, 1.0])
    assert found.error == pytest.approx((2 * 0.3 + 2 * 0.55 + 0) / 5)
    assert found.counts.sum() == 5
    assert found.largest == pytest.approx(0.55)
    assert np.isnan(found.accuracy[0])


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_the_error_is_torchmetrics(classes):
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    logits, truth = logits_and_truth(3000, classes, 1.7)
    shares = torch.from_numpy(logits).softmax(dim=1)
    theirs = torchmetrics.multiclass_calibration_error(shares, torch.from_numpy(truth), classes, n_bins=15, norm="l1")
    ours = reliability(shares.max(dim=1).values.numpy(), shares.argmax(dim=1).numpy() == truth)
    assert ours.error == pytest.approx(float(theirs), abs=1e-6)


def test_probabilities_on_the_edges_of_bins_are_counted_as_torchmetrics_does():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    edges = np.linspace(0, 1, 16, dtype=np.float32)[8:]
    shares = torch.stack([torch.from_numpy(edges), 1 - torch.from_numpy(edges)], dim=1)
    truth = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1])
    theirs = torchmetrics.multiclass_calibration_error(shares, truth, 2, n_bins=15, norm="l1")
    ours = reliability(shares.max(dim=1).values.numpy(), (shares.argmax(dim=1) == truth).numpy())
    assert ours.error == pytest.approx(float(theirs), abs=1e-6)


def test_probabilities_that_round_to_one_are_counted_as_torchmetrics_does():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    logits, truth = logits_and_truth(500, 3, 40.0)
    shares = torch.from_numpy(logits).softmax(dim=1)
    assert 50 < (shares.amax(dim=1) == 1).sum() < 500
    theirs = torchmetrics.multiclass_calibration_error(shares, torch.from_numpy(truth), 3, n_bins=15, norm="l1")
    ours = reliability(shares.amax(dim=1).numpy(), shares.argmax(dim=1).numpy() == truth)
    assert ours.error == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_one_that_was_put_in(temperature):
    logits, truth = logits_and_truth(20_000, 6, temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_makes_the_true_classes_most_likely():
    logits, truth = logits_and_truth(400, 4, 2.2)
    found = fit_temperature(logits, truth)

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits).double() / temperature,
                                                       torch.from_numpy(truth)))  # fmt: skip

    assert loss(found) <= min(loss(found * 0.999), loss(found * 1.001))


def test_scaling_repairs_a_network_that_is_too_sure():
    logits, truth = logits_and_truth(6000, 10, 2.5)
    shares = torch.from_numpy(logits).softmax(dim=1).numpy()
    found = calibrate(shares.max(axis=1), shares.argmax(axis=1) == truth, logits, truth)
    assert found.plain.error > 0.1
    assert found.scaled is not None
    assert found.scaled.error < 0.03
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.pictures == found.scaled.counts.sum() == 6000


def test_each_half_is_judged_at_the_temperature_of_the_other():
    """With all mistakes in one half, its own temperature would be hidden from nobody but itself."""
    logits, truth = logits_and_truth(200, 3, 4.0)
    shares = torch.from_numpy(logits).softmax(dim=1).numpy()
    found = calibrate(shares.max(axis=1), shares.argmax(axis=1) == truth, logits, truth, seed=1)
    order = np.random.default_rng(1).permutation(200)
    assert found.scaled is not None
    assert found.halves == (
        fit_temperature(logits[order[:100]], truth[order[:100]]),
        fit_temperature(logits[order[100:]], truth[order[100:]]),
    )
    scaled = np.empty(200, np.float32)
    for half, temperature in ((order[:100], found.halves[1]), (order[100:], found.halves[0])):
        scaled[half] = torch.from_numpy(logits[half] / temperature).softmax(dim=1).amax(dim=1)
    by_hand = reliability(scaled, logits.argmax(axis=1) == truth)
    assert found.scaled.error == pytest.approx(by_hand.error, abs=1e-6)


def test_a_few_pictures_have_no_temperature():
    logits, truth = logits_and_truth(19, 3, 1.0)
    found = calibrate(np.full(19, 0.5, np.float32), truth == 0, logits, truth)
    assert found.scaled is None
    assert np.isnan(found.temperature)
