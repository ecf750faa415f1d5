"""Maps of several layers and of mirrored pictures, brought to one grid by what the units see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.core.field import Field, Span
from cnnviz.methods.cams.grids import mirror_back, resample_to_finest
from cnnviz.methods.cams.layer_maps import field_of, note_unplaced
from tests.support.networks import Twice, model_of, vit


class Strided(nn.Module):
    """Units at pixels 0, 8, 16, ... and 0, 16, 32, ..., as in a residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(*(nn.Conv2d(c, 4, 3, 2, 1) for c in (3, 4, 4)))
        self.coarse = nn.Conv2d(4, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.coarse(self.fine(x)).relu().mean(dim=(2, 3)))


@pytest.fixture
def strided():
    return model_of(Strided(), input_size=64)


def plane(field):
    """Each unit's own centre as its value."""
    return torch.tensor(field.rows.middles()[:, None] * 2 + field.columns.middles()[None])[None]


def test_a_coarser_layers_map_is_taken_where_the_finer_units_look(strided):
    names = ("fine", "coarse")
    fields = [field_of(strided, name, (64, 64)) for name in names]
    assert [field.stride for field in fields] == [(8, 8), (16, 16)]
    (fine, moved), field = resample_to_finest([plane(each) for each in fields], fields)
    assert field is fields[0]
    assert torch.allclose(fine, plane(field).float())
    inside = fine[:, :7, :7]
    assert torch.allclose(moved[:, :7, :7], inside, atol=1e-4)
    assert (moved[:, 7, 0] == moved[:, 6, 0]).all()
    assert (moved[:, :, 7] == moved[:, :, 6]).all()
    assert torch.allclose(moved[:, 7, :7], moved[:, 6, :7])


def test_beyond_a_coarser_layers_units_their_outer_values_are_held():
    """Its two units look at 24 and 40; the finer ones at 0, 8, ..., 56."""
    fine = Span(size=8, stride=8.0, offset=0.0, seen=((0, 8),) * 8)
    coarse = Span(size=16, stride=16.0, offset=24.0, seen=((16, 32), (32, 48)))
    fields = [Field("spatial", (64, 64), "", (span, span)) for span in (fine, coarse)]
    (_, moved), _ = resample_to_finest([torch.zeros(1, 8, 8), torch.tensor([[[1.0, 3.0], [1.0, 3.0]]])], fields)
    assert torch.equal(moved, torch.tensor([1.0, 1, 1, 1, 2, 3, 3, 3]).expand(1, 8, 8))
    (_, turned), _ = resample_to_finest([torch.zeros(1, 8, 8), torch.tensor([[[1.0, 1.0], [3.0, 3.0]]])], fields)
    assert torch.equal(turned, moved.mT)


def test_a_mirrored_map_comes_back_to_where_its_units_look(strided):
    field = field_of(strided, "coarse", (64, 64))
    mirrored = torch.tensor(63 - field.columns.middles()).expand(1, 4, 4)
    back, known = mirror_back(mirrored, field)
    assert known.tolist() == [False, True, True, True]
    assert np.allclose(back[0, 0, known], field.columns.middles()[1:])
    plain, everywhere = mirror_back(mirrored, None)
    assert torch.equal(plain, mirrored.flip(-1))
    assert everywhere.all()


def test_flip_averages_what_looks_at_the_same_place(strided):
    inputs = torch.rand(2, 3, 64, 64)
    one, other, both = (
        cnnviz.gradcam(strided, each, 1, layer="coarse", relu=False, flip=flip).values
        for each, flip in ((inputs, False), (inputs.flip(-1), False), (inputs, True))
    )
    back, known = mirror_back(torch.from_numpy(other), field_of(strided, "coarse", (64, 64)))
    wanted = np.where(known.numpy(), (one + back.numpy()) / 2, one)
    np.testing.assert_allclose(both, wanted, rtol=1e-5, atol=1e-7)


def test_every_call_has_a_field_of_its_own():
    model = model_of(Twice())
    first, second = (field_of(model, f"shared#{call}", (32, 32)) for call in (1, 2))
    assert second == field_of(model, "shared", (32, 32)) == model.layers["shared"].field
    assert second.size[0] - first.size[0] == 2 * first.stride[0] == 8


def test_units_without_places_are_said():
    model = model_of(vit())
    layer = "encoder.layers.encoder_layer_0"
    found = cnnviz.gradcam(model, torch.rand(1, 3, 32, 32), 1, layer=layer)
    assert found[0].field.kind == "whole"
    said = f"the units of {layer} have a receptive field that covers the image (attention): its map is spread evenly"
    assert f"{said} over the input" in found.checks
    assert note_unplaced("conv", None) == ()
    assert (found.upsampled() == found.upsampled("pixel")).all()


def test_a_size_is_measured_once(strided, monkeypatch):
    seen = []
    monkeypatch.setattr(strided.module, "forward", lambda x, own=strided.module.forward: seen.append(len(x)) or own(x))
    inputs = torch.rand(1, 3, 48, 64)
    cnnviz.saliency(strided, torch.rand(1, 3, 24, 32), 1)  # what is asked once a model is known
    seen.clear()
    for _ in range(2):
        cnnviz.gradcam(strided, inputs, 1, layer="coarse")
    assert sorted(seen)[:2] == [1, 1]
    assert len(seen) == 3
    assert strided.layers_on((48, 64)) is strided.layers_on((48, 64))


def test_cam_lies_where_grad_cam_lies(strided):
    inputs = torch.rand(1, 3, 64, 64)
    one, other = cnnviz.cam(strided, inputs, 1)[0], cnnviz.gradcam(strided, inputs, 1, layer="coarse")[0]
    assert one.field == other.field
