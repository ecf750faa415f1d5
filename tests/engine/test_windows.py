"""Windows over a picture and the closed form of their average."""

import numpy as np
import pytest
import torch

from cnnviz.engine.windows.window import Windows
from cnnviz.errors import ParameterError


@pytest.mark.parametrize(
    ("size", "side", "stride"),
    [
        ((10, 10), 3, 2),
        ((11, 17), 4, 3),
        ((8, 8), 8, 1),
        ((9, 12), 5, 5),
        ((7, 7), 1, 1),
        ((17,), 5, 3),
        ((6, 7, 8), 3, 2),
        ((5, 11, 8), (1, 4, 3), (1, 3, 2)),
    ],
)
def test_windows_cover_everything_and_are_never_cut(size, side, stride):
    windows = Windows.over(size, side, stride)
    masks = windows.masks(torch.arange(len(windows)))
    assert masks.shape == (len(windows), 1, *size)
    assert (masks.flatten(1).sum(dim=1) == np.prod(np.broadcast_to(side, len(size)))).all()
    assert (masks.sum(dim=0) > 0).all()
    assert len({tuple(mask.flatten().nonzero().flatten().tolist()) for mask in masks}) == len(windows)


@pytest.mark.parametrize("soft", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(17,), (11, 17), (7, 11, 9)])
def test_closed_form_is_the_loop_over_windows(size, soft):
    windows = Windows.over(size, 4, 3, soft)
    values = torch.randn(2, len(windows), dtype=torch.float64)
    masks = windows.masks(torch.arange(len(windows)))[:, 0].double()
    expected = torch.einsum("qk,k...->q...", values, masks) / masks.sum(dim=0)
    assert torch.allclose(windows.average(values), expected, rtol=1e-6, atol=1e-6)


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
    with pytest.raises(ParameterError, match=r"^window must be at most 6, the length of what it hides; got 7\.$"):
        Windows.over((6,), 7, 1)
    with pytest.raises(ParameterError, match="at most 6 x 9 x 9, the size of what it hides; got 2 x 10 x 3"):
        Windows.over((6, 9, 9), (2, 10, 3), 1)
    with pytest.raises(ParameterError, match="at most the window's 2 x 3 x 3, or some places are never hidden; got 3"):
        Windows.over((6, 9, 9), (2, 3, 3), 3)


def test_windows_of_a_volume_are_numbered_with_the_last_axis_fastest():
    windows = Windows.over((4, 6, 8), 2, 2)
    assert windows.shape == (2, 3, 4)
    (mask,) = windows.masks(torch.tensor([1 * 12 + 2 * 4 + 3]))
    assert mask[0].nonzero().amin(dim=0).tolist() == [2, 4, 6]
    assert mask.sum() == 8
