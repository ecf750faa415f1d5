"""Deep feature factorization: factors that are exact where the data have them, and concepts named by the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.errors import UnknownNameError, UsageError
from cnnviz.methods.concepts import factorize


def test_factors_of_data_that_have_factors():
    generator = torch.Generator().manual_seed(3)
    shares = torch.rand(2, 3, 4, 4, generator=generator) * (torch.rand(2, 3, 4, 4, generator=generator) > 0.5)
    vectors = torch.rand(3, 7, generator=generator)
    data = torch.einsum("nkhw,kc->nchw", shares, vectors)
    maps, found = factorize(data, 3, steps=3000, seed=0)
    again = torch.einsum("nkhw,kc->nchw", maps, found)
    assert float((again - data).norm() / data.norm()) < 0.01
    assert float(maps.min()) >= 0
    assert float(found.min()) >= 0
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_the_first_concept_is_the_strongest():
    data = torch.zeros(1, 2, 3, 4)
    data[0, 0, 1, 2] = 30.0  # strong at one place
    data[0, 1] = 1.0  # and weak at all twelve
    for seed in range(3):
        maps, vectors = factorize(data, 2, steps=500, seed=seed)
        assert maps[0, 0].sum() > 2 * maps[0, 1].sum()
        assert vectors[0, 0] > 0.9


def test_more_steps_never_fit_worse():
    data = torch.rand(1, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    errors = []
    for steps in (1, 5, 25, 125):
        maps, vectors = factorize(data, 2, steps=steps, seed=0)
        errors.append(float((torch.einsum("nkhw,kc->nchw", maps, vectors) - data).norm()))
    assert errors == sorted(errors, reverse=True)


def test_a_concept_is_named_by_the_class_of_that_concept_alone(small, inputs):
    found = cnnviz.dff(small, inputs, concepts=2, layer="relu2", steps=50)
    assert found.values.shape[:2] == (3, 2)
    most = torch.from_numpy(found.values.max(axis=(0, 2, 3)))
    for (target, share), vector, peak in zip(found.classes, torch.from_numpy(found.vectors), most, strict=True):
        with torch.no_grad():
            shares = small.module.fc((vector * peak)[None].float()).softmax(dim=1)[0]
        assert target.index == int(shares.argmax())
        assert target.label == small.labels[target.index]
        assert share == pytest.approx(float(shares.max()), rel=1e-4)


def test_the_seed_decides_and_the_grid_has_a_column_a_concept(small, inputs, tmp_path):
    one, two = (cnnviz.dff(small, inputs, concepts=3, steps=20) for _ in range(2))
    assert one.values.tobytes() == two.values.tobytes()
    assert cnnviz.dff(small, inputs, concepts=3, steps=20, seed=1).values.tobytes() != one.values.tobytes()
    assert one.grid().sheet.shape == (3, 5)
    with np.load(one.save(tmp_path / "concepts.npz")) as held:
        assert set(held) == {"values", "vectors", "labels", "images", "provenance"}
    assert one.save(tmp_path / "concepts.png").is_file()


def test_what_it_refuses(small, inputs):
    with pytest.raises(UsageError, match="one layer"):
        cnnviz.dff(small, inputs, layer="relu1,relu2")
    with pytest.raises(UnknownNameError, match="'relu2'"):
        cnnviz.dff(small, inputs, layer="relu22")
    with pytest.raises(UsageError, match="no spatial extent"):
        cnnviz.dff(small, inputs, layer="fc")


def test_negative_activations_are_left_out():
    data = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(2))
    maps, vectors = factorize(data, 2, steps=30, seed=0)
    positive = factorize(data.clamp_min(0), 2, steps=30, seed=0)
    assert torch.equal(maps, positive[0])
    assert torch.equal(vectors, positive[1])
    assert float(maps.min()) >= 0
    assert float(vectors.min()) >= 0
