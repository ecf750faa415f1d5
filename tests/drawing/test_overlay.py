import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnviz.core.picture import Geometry
from cnnviz.drawing.colour import Scale, colourise, scale_of
from cnnviz.drawing.overlay import grey_of, outlined, overlay, place, transparent, upsample
from cnnviz.errors import ParameterError

side = st.integers(1, 40)
PHOTO = np.random.default_rng(5).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(height=side, width=side, seed=st.integers(0, 99))
def test_a_map_on_its_own_grid_stays_bit_equal(height, width, seed):
    values = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    assert (place(values, Geometry.whole(height, width)) == values).all()
    assert (upsample(values, (height, width)) == values).all()


@settings(max_examples=60, deadline=None)
@given(
    original=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    resized=st.tuples(st.integers(16, 60), st.integers(16, 60)),
    offset=st.tuples(st.integers(-5, 8), st.integers(-5, 8)),
    size=st.tuples(st.integers(8, 30), st.integers(8, 30)),
)
def test_a_ramp_stays_the_same_ramp_on_the_picture(original, resized, offset, size):
    geometry = Geometry(original, resized, (*offset, *size))
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    placed = place(0.3 * rows - 0.2 * columns, geometry)
    down = (np.arange(original[0]) + 0.5) * resized[0] / original[0] - offset[0]
    across = (np.arange(original[1]) + 0.5) * resized[1] / original[1] - offset[1]
    seen = ((down >= 0) & (down < size[0]))[:, None] & ((across >= 0) & (across < size[1]))
    held = 0.3 * np.clip(down, 0.5, size[0] - 0.5)[:, None] - 0.2 * np.clip(across, 0.5, size[1] - 0.5)
    assert placed.shape == original
    assert placed.dtype == np.float32
    assert (np.isnan(placed) == ~seen).all()
    np.testing.assert_allclose(placed[seen], held[seen], atol=1e-5)


def test_the_seen_part_is_the_geometrys_box():
    geometry = Geometry((200, 300), (100, 150), (20, 40, 60, 70))
    rows, columns = np.nonzero(np.isfinite(place(np.ones((60, 70)), geometry)))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == geometry.box


def test_a_crop_beside_the_picture_shows_nothing():
    assert np.isnan(place(np.ones((4, 4)), Geometry((10, 10), (10, 10), (20, 0, 4, 4)))).all()


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ParameterError, match=r"\(7, 7\).*\(224, 224\)"):
        place(np.ones((7, 7)), Geometry((300, 300), (256, 256), (16, 16, 224, 224)))
    with pytest.raises(ParameterError, match="picture"):
        overlay(PHOTO, np.ones((7, 7)), Scale(0, 1))
    with pytest.raises(ParameterError, match="alpha"):
        overlay(PHOTO, np.ones(PHOTO.shape[:2]), Scale(0, 1), alpha=1.5)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((7, 7), (224, 224)),
        ((1, 1), (5, 9)),
        ((13, 6), (20, 64)),
        ((64, 50), (17, 9)),
        ((8, 40), (32, 10)),
    ],
)
def test_upsample_is_torchs_bilinear(small, large):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=(2, 3, *small)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(values).double(), size=large, mode="bilinear", align_corners=False
    )
    upsampled = upsample(values, large)
    assert upsampled.dtype == np.float32
    np.testing.assert_allclose(upsampled, wanted.numpy(), atol=1e-6)


def test_cold_places_show_the_photograph_and_the_hottest_the_colour_maps_end():
    values = np.tile(np.linspace(0, 2, 40), (30, 1))
    drawn = overlay(PHOTO, values, scale_of(values), alpha=1.0)
    assert (drawn[:, 0] == PHOTO[:, 0]).all()
    assert (drawn[:, -1] == colourise(np.array([[1.0]]), Scale(0, 1))[0, 0]).all()


def test_the_photograph_fades_as_the_value_grows():
    values = np.tile(np.linspace(0, 2, 40), (30, 1))
    white, black = (overlay(np.full_like(PHOTO, level), values, scale_of(values)).astype(int) for level in (255, 0))
    shines_through = (white - black)[0, :, 0]
    assert shines_through[0] == 255
    assert abs(shines_through[-1] - 0.3 * 255) <= 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(shines_through))


@pytest.mark.parametrize("sign", [-1, 1])
def test_signed_opacity_follows_the_magnitude(sign):
    values = np.zeros((30, 40))
    values[3, 4] = sign
    scale = Scale(-1, 1, signed=True, cmap="RdBu_r")
    drawn = overlay(PHOTO, values, scale, alpha=1.0)
    assert (drawn[3, 4] == colourise(values[3:4, 4:5], scale)[0, 0]).all()
    grey = 64 + (1 - 64 / 255) * grey_of(PHOTO)[..., None]
    expected = 0.5 * grey + 0.5 * colourise(np.zeros((1, 1)), scale)
    drawn[3, 4] = np.rint(expected[3, 4])
    assert np.abs(drawn - expected).max() <= 0.501


@pytest.mark.parametrize("alpha", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("level", [0, 60, 128, 255])
def test_no_line_is_seen_where_the_sign_changes(level, alpha):
    """On a photograph of any lightness the drawn map is lightest at zero, and falls both ways."""
    values = np.linspace(-1, 1, 401)[None]
    photo, scale = np.full((1, 401, 3), level, np.uint8), Scale(-1, 1, signed=True, cmap="RdBu_r")
    drawn = grey_of(overlay(photo, values, scale, alpha=alpha))[0]
    assert (np.diff(drawn[:201]) >= -1).all()
    assert (np.diff(drawn[200:]) <= 1).all()
    assert drawn[200] >= drawn.max() - 1
    assert drawn[200] >= 95


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_what_the_network_saw_is_outlined_by_one_thin_line(alpha):
    seen = np.zeros((30, 40), bool)
    seen[5:25, 0:30] = True
    drawn = np.full((30, 40, 3), round(200 * alpha), np.uint8)
    changed = (outlined(drawn, seen) != drawn).any(axis=-1)
    wanted = np.zeros_like(seen)
    wanted[4:26, :31] = True
    assert (changed == wanted & ~seen).all()
    assert outlined(drawn, np.ones_like(seen)) is drawn


def test_weak_places_leave_no_veil_and_half_strong_ones_are_seen():
    values = np.linspace(0, 1, 40)[None]
    photo, scale = np.full((1, 40, 3), 200, np.uint8), Scale(0, 1)
    opacity = 0.8 * (1 - (1 - values) ** 2)[..., None]
    expected = (1 - opacity) * 200 + opacity * colourise(values, scale)
    assert np.abs(overlay(photo, values, scale, alpha=0.8) - expected).max() <= 0.501


def test_a_blank_map_leaves_the_photograph_as_it_is():
    for signed in (False, True):
        values = np.zeros((30, 40))
        assert (overlay(PHOTO, values, scale_of(values, signed=signed)) == PHOTO).all()


def test_what_the_network_did_not_see_is_paler_and_greyer():
    values = np.ones((30, 40))
    values[:, :10] = np.nan
    drawn = overlay(PHOTO, values, scale_of(np.zeros(1)))
    assert (drawn[:, 10:] == PHOTO[:, 10:]).all()
    unseen, photo = drawn[:, :10].astype(int), PHOTO[:, :10].astype(int)
    assert unseen.min() > photo.min()
    assert (np.ptp(unseen, axis=-1) <= np.ptp(photo, axis=-1)).all()


@pytest.mark.parametrize(("channel", "luma"), [(0, 0.299), (1, 0.587), (2, 0.114)])
def test_the_grey_of_what_was_not_seen_is_its_luma(channel, luma):
    photo = np.zeros((2, 2, 3), dtype=np.uint8)
    photo[..., channel] = 200
    drawn = overlay(photo, np.full((2, 2), np.nan), scale_of(np.zeros(1))).astype(float)
    grey = drawn[0, 0, (channel + 1) % 3]
    assert grey == pytest.approx(0.62 * 0.65 * luma * 200 + 0.38 * 255, abs=0.5)
    assert drawn[0, 0, channel] - grey == pytest.approx(0.62 * 0.35 * 200, abs=1)


def test_a_large_picture_drawn_in_bands_has_no_seams():
    values = np.tile(np.linspace(0, 1, 700), (300, 1))
    drawn = overlay(np.full((300, 700, 3), 80, dtype=np.uint8), values, Scale(0, 1))
    assert (drawn == drawn[:1]).all()


def test_a_transparent_map_over_its_photograph_is_the_overlay():
    drawn = np.random.default_rng(0)
    photograph = drawn.integers(0, 256, (12, 20, 3)).astype(np.uint8)
    values = drawn.random((12, 20)).astype(np.float32)
    values[0] = np.nan
    values[1] = 0
    scale = scale_of(values)
    found = transparent(values, scale, 0.7)
    assert found.shape == (12, 20, 4)
    assert not found[:2, :, 3].any()
    assert found[..., 3].max() == round(255 * 0.7)
    laid = Image.alpha_composite(Image.fromarray(photograph).convert("RGBA"), Image.fromarray(found)).convert("RGB")
    wanted = overlay(photograph, values, scale, alpha=0.7, seen=np.ones((12, 20), bool))
    assert np.abs(np.asarray(laid).astype(int) - wanted).max() <= 2


def test_a_signed_transparent_map_is_clear_at_zero_and_a_blank_one_everywhere():
    values = np.array([[-2.0, 0.0, 2.0]], np.float32)
    assert transparent(values, scale_of(values, signed=True))[0, :, 3].tolist() == [255, 0, 255]
    blank = np.zeros((2, 3), np.float32)
    assert not transparent(blank, scale_of(blank))[..., 3].any()
