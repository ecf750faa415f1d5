"""Maps drawn where their units look."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz import Geometry, Heatmap, Look, Picture
from cnnviz.core.field import Field, Span
from cnnviz.core.target import ClassTarget
from cnnviz.drawing.overlay import upsample
from cnnviz.errors import ParameterError


def span(count, stride, offset, size=5, centres=None):
    return Span(size, stride, offset, tuple((0, 0) for _ in range(count)), centres)


def field(rows, columns, kind="spatial", side=64):
    return Field(kind, (side, side), "", (rows, columns))


@pytest.mark.parametrize(("stride", "offset"), [(8, 0), (8, 3.5), (8, 7), (4, 1), (16, 0)])
def test_a_known_map_is_placed_exactly(stride, offset):
    """A map that is a plane of its units' centres is the same plane of pixels between them."""
    count = 64 // stride - (offset > stride / 2)
    centres = offset + stride * np.arange(count)
    values = 0.5 * centres[:, None] - 0.25 * centres[None] + 3
    placed = upsample(values, (64, 64), field(span(count, stride, offset), span(count, stride, offset)))
    rows, columns = np.mgrid[:64, :64]
    held = [np.clip(each, centres[0], centres[-1]) for each in (rows, columns)]
    known = [(each >= centres[0] - stride / 2) & (each <= centres[-1] + stride / 2) for each in (rows, columns)]
    seen = known[0] & known[1]
    assert (np.isnan(placed) == ~seen).all()
    np.testing.assert_allclose(placed[seen], (0.5 * held[0] - 0.25 * held[1] + 3)[seen], atol=1e-4)
    whole = [int(each) for each in centres if each == int(each)]
    for unit, pixel in enumerate(whole):
        assert placed[pixel, pixel] == pytest.approx(values[unit, unit])


def test_where_half_the_stride_is_the_offset_both_conventions_are_one():
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    even = field(span(4, 16, 7.5), span(4, 16, 7.5))
    np.testing.assert_allclose(upsample(values, (64, 64), even), upsample(values, (64, 64)), atol=1e-6)


def test_irregular_units_lie_at_their_own_centres():
    centres = (3.0, 20.0, 30.0)
    placed = upsample(np.eye(3), (64, 64), field(span(3, 13.5, 4, centres=centres), span(3, 13.5, 4, centres=centres)))
    assert [placed[int(centre), int(centre)] for centre in centres] == [1, 1, 1]
    assert placed[3, 20] == 0


def test_units_in_pairs_lie_on_the_line_between():
    twice = (4.0, 4.0, 12.0, 12.0)
    both = span(4, 4, 2, centres=twice)
    placed = upsample(np.arange(4.0)[None].repeat(4, 0), (64, 64), field(both, both))
    assert placed[8, 8] == pytest.approx(1.5)


def test_units_that_all_look_at_the_same_place_are_spread_evenly():
    same = span(4, 0, 31.5)
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_allclose(upsample(values, (64, 64), field(same, same)), upsample(values, (64, 64)), atol=1e-6)


@pytest.mark.parametrize("other", [None, Field("whole", (64, 64), "attention"), field(span(5, 8, 0), span(4, 8, 0))])
def test_a_field_without_places_or_of_another_grid_counts_as_none(other):
    values = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    assert (upsample(values, (64, 64), other) == upsample(values, (64, 64))).all()


def heatmap():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    picture = Picture(pixels, "photo.png", Geometry((64, 80), (64, 80), (0, 8, 64, 64)))
    values = np.zeros((2, 2), np.float32)
    values[1, 1] = 2
    seen = field(span(2, 32, 0), span(2, 32, 0))
    return Heatmap(values, ClassTarget(1), 1.0, 0.5, picture, "conv", rectified=True, model="net", field=seen)


def test_the_peak_lies_where_the_unit_looks():
    assert heatmap().peak() == (8 + 32, 32)
    x, y = heatmap().peak("pixel")
    assert x >= 8 + 47
    assert y >= 47


def test_beyond_the_last_unit_the_photograph_is_as_it_is_and_beside_the_input_faded():
    one = heatmap()
    drawn = one.overlay()
    assert np.isnan(one.on_original()[49:]).all()
    assert (drawn[49:, 8:72] == one.picture.pixels[49:, 8:72]).all()
    assert (drawn[:, :8] != one.picture.pixels[:, :8]).any()
    assert (drawn[32, 40] != one.picture.pixels[32, 40]).any()


def test_alignment_is_a_look(tmp_path):
    one = heatmap()
    assert (one.overlay(Look(align="pixel"))[60:, 60:72] != one.picture.pixels[60:, 60:72]).any()
    assert one.scale().high == one.scale(Look(align="pixel")).high == 2
    with pytest.raises(ParameterError, match="align is one of field, pixel"):
        Look(align="centre")
    first, second = (one.save(tmp_path / f"{align}.png", align=align) for align in ("field", "pixel"))
    assert first.read_bytes() != second.read_bytes()
    with np.load(one.save(tmp_path / "map.npz")) as saved:
        assert saved["rows"].tolist() == saved["columns"].tolist() == [0, 32]


def reaching(seen, stride, offset, size):
    return Span(size, stride, offset, seen)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_outer_values_are_held_as_far_as_their_fields_reach(axes):
    """Fields of 24 pixels, 16 apart, of 64: the last centre is 48, half a stride beyond it ends at 56."""
    units = reaching(((0, 12), (4, 28), (20, 44), (36, 64)), 16, 0, 33)
    values = np.random.default_rng(0).normal(size=(4,) * axes)
    placed = upsample(values, (64,) * axes, Field("spatial", (64,) * axes, "", (units,) * axes))
    assert np.isfinite(placed).all()
    assert placed[(63,) * axes] == placed[(48,) * axes] == np.float32(values[(3,) * axes])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_where_no_field_reaches_at_the_edge_there_is_no_value(axes):
    """A kernel of 2 with a stride of 4 never sees the last two of 8 pixels; half a stride is held as it ever was."""
    units = reaching(((0, 2), (4, 6)), 4, 0.5, 2)
    placed = upsample(np.ones((2,) * axes), (8,) * axes, Field("spatial", (8,) * axes, "", (units,) * axes))
    assert np.isnan(placed[..., 7]).all()
    assert np.isfinite(placed[(slice(0, 7),) * axes]).all()
