"""Windows over a picture and the closed form of their average."""

import pytest
import torch

from cnnviz.engine.windows.window import Windows
from cnnviz.errors import ParameterError


@pytest.mark.parametrize(
    ("size", "side", "stride"), [((10, 10), 3, 2), ((11, 17), 4, 3), ((8, 8), 8, 1), ((9, 12), 5, 5), ((7, 7), 1, 1)]
)
def test_windows_cover_everything_and_are_never_cut(size, side, stride):
    windows = Windows.over(size, side, stride)
    masks = windows.masks(torch.arange(len(windows)))
    assert masks.shape == (len(windows), 1, *size)
    assert (masks.sum(dim=(1, 2, 3)) == side * side).all()
    assert (masks.sum(dim=0) > 0).all()
    assert len({tuple(mask.flatten().nonzero().flatten().tolist()) for mask in masks}) == len(windows)


@pytest.mark.parametrize("soft", [0.0, 0.5, 1.0])
def test_closed_form_is_the_loop_over_windows(soft):
    windows = Windows.over((11, 17), 4, 3, soft)
    values = torch.randn(2, len(windows), dtype=torch.float64)
    masks = windows.masks(torch.arange(len(windows)))[:, 0].double()
    expected = torch.einsum("qk,khw->qhw", values, masks) / masks.sum(dim=0)
    assert torch.allclose(windows.average(values), expected, rtol=1e-6)


@pytest.mark.parametrize(("soft", "side", "sharp"), [(0.0, 4, True), (0.0, 1, True), (0.5, 4, False), (0.2, 4, True)])
def test_sharp_windows_hide_no_pixel_in_part(soft, side, sharp):
    windows = Windows.over((11, 17), side, 1, soft)
    masks = windows.masks(torch.arange(len(windows)))
    assert windows.sharp == sharp == bool(((masks == 0) | (masks == 1)).all())


def test_no_window_hides_nothing():
    windows = Windows.over((6, 6), 2, 2)
    assert not windows.masks(torch.tensor([-1])).any()


def test_soft_windows_fade_from_the_middle_to_the_ends():
    (sharp,), (half,), (soft,) = (Windows.over((8, 8), 8, 1, soft).profiles[0] for soft in (0.0, 0.5, 1.0))
    assert sharp.tolist() == [1] * 8
    assert half[2:6].tolist() == [1] * 4
    assert torch.allclose(soft, soft.flip(0))
    assert (soft[:4].diff() > 0).all()
    assert 0 < soft[0] < half[0] < 1


def test_windows_that_do_not_fit_are_one_sentence():
    with pytest.raises(ParameterError, match=r"^window must be at most 6, the shorter side of what it hides; got 7\.$"):
        Windows.over((6, 9), 7, 1)
    with pytest.raises(ParameterError, match="stride must be at most the window's 2"):
        Windows.over((6, 9), 2, 3)
