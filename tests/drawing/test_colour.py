import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib import colormaps

from cnnviz.core.sample import Signal
from cnnviz.drawing.colour import NO_VALUE, Scale, colour_bar, colourise, paint, scale_of, ticks
from cnnviz.drawing.samples import usual_cmap
from cnnviz.errors import ParameterError, UnknownNameError

MINUS = "\N{MINUS SIGN}"
RAMP = np.linspace(-1, 3, 9).reshape(3, 3)
NORMALISATIONS = ("none", "max", "minmax", "percentile")


def ends(name):
    return [tuple(int(part) for part in colormaps[name](at, bytes=True)[:3]) for at in (0.0, 1.0)]


@pytest.mark.parametrize(
    ("normalise", "signed", "low", "high"),
    [
        ("max", False, 0, 3),
        ("max", True, -3, 3),
        ("minmax", False, -1, 3),
        ("minmax", True, -3, 3),
        ("none", False, 0, 1),
        ("none", True, -1, 1),
        ("percentile", False, 0, np.percentile(RAMP, 75)),
        ("percentile", True, -np.percentile(abs(RAMP), 75), np.percentile(abs(RAMP), 75)),
    ],
)
def test_ends_of_a_scale(normalise, signed, low, high):
    scale = scale_of(RAMP, normalise=normalise, signed=signed, percentile=75)
    assert (scale.low, scale.high, scale.signed) == (pytest.approx(low), pytest.approx(high), signed)
    assert scale.clipped == pytest.approx(np.mean((low > RAMP) | (high < RAMP)))
    assert not scale.blank


def test_default_colour_maps_and_one_on_request():
    assert scale_of(RAMP).cmap == "inferno"
    assert scale_of(RAMP, signed=True).cmap == "RdBu_r"
    assert scale_of(RAMP, cmap="jet").cmap == "jet"


def test_wrong_names_are_said():
    with pytest.raises(UnknownNameError, match=r"colour map 'infern0'.*'inferno'"):
        scale_of(RAMP, cmap="infern0")
    with pytest.raises(ParameterError, match="percentile"):
        scale_of(RAMP, percentile=0)
    with pytest.raises(ParameterError, match="minmax"):
        scale_of(RAMP, normalise="softmax")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("normalise", NORMALISATIONS)
@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2)), np.empty((0, 3)), np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.full((1, 1), -0.0)],
    ids=["zero", "empty", "nan", "inf", "minus zero"],
)
def test_nothing_to_show_is_blank(values, normalise, signed):
    scale = scale_of(values, normalise=normalise, signed=signed)
    assert scale.blank
    assert scale.low < scale.high
    zero = colourise(np.zeros((1, 1)), Scale(-1, 1, signed=True, cmap="RdBu_r") if signed else Scale(0, 1))
    assert (colourise(np.array([[0.0, 5.0]]), scale) == zero).all()


@pytest.mark.parametrize("normalise", ["max", "minmax", "percentile"])
def test_a_constant_map_is_blank_and_an_absolute_scale_still_shows_it(normalise):
    assert scale_of(np.full((3, 3), 2.5), normalise=normalise).blank
    assert not scale_of(np.full((3, 3), 0.5), normalise="none").blank


def test_no_positive_value_is_blank_only_when_zero_is_the_low_end():
    negative = np.array([[-3.0, -1.0]])
    assert scale_of(negative).blank
    assert not scale_of(negative, normalise="minmax").blank
    assert not scale_of(negative, signed=True).blank


def test_a_sparse_map_keeps_its_peak_under_percentile():
    values = np.zeros(1000)
    values[7] = 4.0
    scale = scale_of(values, normalise="percentile")
    assert (scale.high, scale.blank) == (4.0, False)


def test_unsigned_ends_get_the_colour_maps_ends():
    colours = colourise(np.array([[0.0, 8.0]]), scale_of(np.array([0.0, 8.0])))
    assert [tuple(colour) for colour in colours[0].tolist()] == ends("inferno")


def test_signed_zero_is_pale_and_opposites_are_the_opposite_ends():
    low, zero, high = colourise(np.array([[-2.0, 0.0, 2.0]]), scale_of(np.array([-2.0, 0.5]), signed=True))[0]
    assert [tuple(low.tolist()), tuple(high.tolist())] == ends("RdBu_r")
    assert zero.min() >= 240
    assert np.ptp(zero.astype(int)) <= 3


def test_beyond_the_ends_and_without_value():
    colours = colourise(np.array([[-np.inf, 0.0, 1.0, np.inf, 7.0, np.nan]]), Scale(0, 1))[0]
    assert (colours[0] == colours[1]).all()
    assert (colours[2] == colours[3]).all()
    assert (colours[2] == colours[4]).all()
    assert tuple(colours[5]) == NO_VALUE


@settings(max_examples=80, deadline=None)
@given(
    values=arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.floats()),
    normalise=st.sampled_from(NORMALISATIONS),
    signed=st.booleans(),
)
def test_any_values_have_a_scale_and_colours(values, normalise, signed):
    with np.errstate(all="raise", under="ignore"):
        scale = scale_of(values, normalise=normalise, signed=signed)
        colours = colourise(values, scale)
        assert all(re.fullmatch(f"[{MINUS}0-9.e]+", text) for _, text in ticks(scale))
    assert np.isfinite([scale.low, scale.high]).all()
    assert scale.low < scale.high
    assert 0 <= scale.clipped <= 1
    assert not signed or scale.low == -scale.high
    assert colours.dtype == np.uint8
    assert colours.shape == (*values.shape, 3)


@settings(max_examples=50, deadline=None)
@given(factor=st.floats(1e-30, 1e30))
def test_colours_do_not_depend_on_the_unit(factor):
    values = np.array([[0.1, 0.35], [0.77, 1.0]])
    assert (colourise(values * factor, scale_of(values * factor)) == colourise(values, scale_of(values))).all()


def test_bar_runs_upwards_or_rightwards():
    scale = Scale(0, 1)
    upright, flat = colour_bar(scale, 60, 4), colour_bar(scale, 4, 60)
    assert upright.shape == (60, 4, 3)
    assert flat.shape == (4, 60, 3)
    assert (upright[::-1, 0] == flat[0]).all()
    assert tuple(flat[0, 0].tolist()) == ends("inferno")[0]
    assert tuple(flat[0, -1].tolist()) == ends("inferno")[1]
    brightness = flat[0].astype(int).sum(-1)
    assert all(after >= before for before, after in itertools.pairwise(brightness))


@pytest.mark.parametrize(
    ("high", "text"),
    [
        (1, "1"),
        (0.30349, "0.303"),
        (2.2e-4, f"2.2e{MINUS}4"),
        (999.9, "1000"),
        (1234.0, "1230"),
        (3e30, "3e30"),
        (0.05, "0.05"),
    ],
)
def test_numbers_of_a_bar(high, text):
    assert [label for _, label in ticks(Scale(0, high))][::2] == ["0", text]
    assert [label for _, label in ticks(Scale(-high, high, signed=True))] == [f"{MINUS}{text}", "0", text]


def held(values, how):
    """The same values, held in memory in another way."""
    if how == "reversed":
        return np.ascontiguousarray(values[..., ::-1, ::-1])[..., ::-1, ::-1]
    if how == "channels last":
        return np.ascontiguousarray(np.moveaxis(values, 0, -1)).transpose(values.ndim - 1, *range(values.ndim - 1))
    if how == "every other":
        return np.repeat(values, 2, axis=-1)[..., ::2]
    same = np.asfortranarray(values) if how == "Fortran" else values.copy()
    same.flags.writeable = how != "read-only"
    return same


@pytest.mark.parametrize("how", ["reversed", "channels last", "every other", "Fortran", "read-only"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (3, 1, 1)])
@pytest.mark.parametrize("lost", [False, True])
def test_colours_are_the_same_however_values_lie_in_memory(how, shape, lost):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if lost:
        values[0, 0, 0] = np.nan
    scale, before = scale_of(values, signed=True), values.copy()
    for draw, drawn in ((paint, values), (colourise, values[0])):
        expected, found = draw(drawn, scale), draw(held(drawn, how), scale)
        assert np.array_equal(found, expected)
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert not lost or tuple(found[0, 0]) == NO_VALUE
    assert np.array_equal(values, before, equal_nan=True)


def lightness(scale):
    """CIE L* of the 256 colours of a scale, from its low end to its high end."""
    srgb = colourise(np.linspace(scale.low, scale.high, 256)[None], scale)[0] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_positive_maps_are_told_apart_in_greyscale():
    light = lightness(scale_of(RAMP))
    assert (np.diff(light) > 0).all()
    assert light[-1] - light[0] > 90


def test_positive_maps_on_paper_are_told_apart_in_greyscale():
    """Under the lines of a signal a stronger colour is darker: the paper is white."""
    signal = Signal(np.zeros((1, 8), np.float32), "signal")
    light = lightness(scale_of(RAMP, cmap=usual_cmap(signal, signed=False)))
    assert (np.diff(light) <= 0).all()
    assert light[0] - light[-1] > 50


def test_signed_maps_are_told_apart_in_greyscale_both_ways_from_a_light_middle():
    light = lightness(scale_of(RAMP, signed=True))
    assert (np.diff(light[:128]) > 0).all()
    assert (np.diff(light[128:]) < 0).all()
    assert light[127:129].min() > 95
    assert max(light[0], light[-1]) < 25
