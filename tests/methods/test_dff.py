"""Deep feature factorization: factors that are exact where the data have them, and concepts named by the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnnviz
from cnnviz.errors import UnknownNameError, UsageError
from cnnviz.methods.concepts import factorize
from cnnviz.results.concepts import choose_colours, hatch, paint_shares


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
    assert one.grid().sheet.shape == (4, 5)
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


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of colours ``(k, 3)``, 0 to 255."""
    linear = np.where((shares := colours / 255) <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ np.array([0.2126, 0.7152, 0.0722])) - 16


@pytest.mark.parametrize("count", range(2, 7))
def test_concepts_are_told_apart_in_greyscale(count):
    assert np.diff(np.sort(lightness(choose_colours(count)))).min() > 8
    plain = np.full((90, 90, 3), 128, np.uint8)
    whole = np.ones((1, 90, 90), dtype=bool)
    inside = (slice(10, -10),) * 2
    drawn = [hatch(plain, whole, choose_colours(count)[[k]], k)[inside] != 128 for k in range(count)]
    assert all(0.05 < each.mean() < 0.5 for each in drawn)
    assert not any(np.array_equal(one, other) for k, one in enumerate(drawn) for other in drawn[:k])


@pytest.mark.parametrize("level", [0, 30, 128, 255])
def test_where_there_is_no_concept_a_grey_photograph_stays_as_it_is(level):
    photo = np.full((20, 30, 3), level, np.uint8)
    shares = np.zeros((2, 20, 30))
    shares[0, :10] = 1
    painted = paint_shares(photo, shares, choose_colours(2))
    assert (painted[10:] == photo[10:]).all()
    assert (painted[:10] != photo[:10]).any(axis=2).all()
    outlined = hatch(painted, shares[:1] > 0, choose_colours(1))
    assert (outlined[13:] == photo[13:]).all()
    assert {tuple(each) for each in outlined[8:12, 15]} >= {(0, 0, 0), (255, 255, 255)}, "seen on any ground"


def test_the_legend_has_a_swatch_a_concept(small, inputs):
    rows = cnnviz.dff(small, inputs, layer="relu2", concepts=3).grid().sheet.rows
    assert rows[-1][:2] == (None, None)
    assert [cell.caption for cell in rows[-1][2:]] == ["concept 1", "concept 2", "concept 3"]
    for cell, colour in zip(rows[-1][2:], choose_colours(3), strict=True):
        assert (cell.pixels == np.rint(colour)).all(axis=2).mean() > 0.3
