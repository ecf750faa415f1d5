"""The bar of a scale that many pictures share."""

from __future__ import annotations

import numpy as np
import pytest

from cnnviz.drawing.colour import colourise, scale_of
from cnnviz.drawing.sheet import legend

RAMP = np.arange(101.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "0 to 100"),
        ({"signed": True}, "\N{PLUS-MINUS SIGN}100"),
        ({"normalise": "percentile", "percentile": 90}, "0 to 90\n9.9% clipped"),
        ({"signed": True, "normalise": "percentile", "percentile": 90}, "\N{PLUS-MINUS SIGN}90\n9.9% clipped"),
    ],
)
def test_words_say_the_ends_and_what_is_clipped(given, words):
    assert legend(scale_of(RAMP, **given)).caption == words


def test_a_scale_without_anything_says_so():
    assert legend(scale_of(np.zeros(3), signed=True)).caption == "nothing but zero"


def test_the_bar_runs_through_the_scales_colours():
    scale = scale_of(RAMP, signed=True)
    pixels = legend(scale).pixels
    ends = colourise(np.array([[-100.0, 100.0]]), scale)[0]
    assert np.array_equal(pixels[:, 0], np.broadcast_to(ends[0], pixels[:, 0].shape))
    assert np.array_equal(pixels[:, -1], np.broadcast_to(ends[1], pixels[:, -1].shape))
