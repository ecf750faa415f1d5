"""Settings with a number for every axis: what is read, what is held and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnviz.errors import ParameterError
from cnnviz.lengths import Counts, Lengths, Measured, PerAxis, split_lengths
from cnnviz.method import Parameter, parameter


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("16", [(16, "")]),
        ("8x16X16", [(8, ""), (16, ""), (16, "")]),
        ("10mm", [(10, "mm")]),
        ("10x20x20mm", [(10, "mm"), (20, "mm"), (20, "mm")]),
        ("1.5 cm x 20mm x 8", [(15, "mm"), (20, "mm"), (8, "")]),
        ("0.5sx16x16", [(0.5, "s"), (16, ""), (16, "")]),
        (".2s", [(0.2, "s")]),
        ("200ms", [(0.2, "s")]),
    ],
)
def test_a_text_as_lengths(text, lengths):
    found = split_lengths(text)
    assert [unit for _, unit in found] == [unit for _, unit in lengths]
    assert np.allclose([much for much, _ in found], [much for much, _ in lengths])


@pytest.mark.parametrize("text", ["", "x", "8x", "0x3", "1.5", "0mm", "10 miles", "-3x3", "8,8", "1e3mm", "8xx8", "mm"])
def test_what_is_no_length(text):
    with pytest.raises(ValueError, match="is not a length"):
        split_lengths(text)


@pytest.mark.parametrize(
    ("given", "held"),
    [(16, 16), ("16", 16), (np.int64(4), 4), (torch.tensor(4), 4), ((8, 16), "8x16"), ([np.int32(8), 16], "8x16"),
     ((16,), 16), ("8 x 16", "8x16"), ("10 MM", "10mm"), (("10mm", 8), "10mmx8")],
)  # fmt: skip
def test_what_a_setting_holds(given, held):
    found = parameter("window", Lengths, None, "It.").check(given)
    assert found == held
    assert type(found) is type(held)


def test_settings_of_signatures():
    assert parameter("window", Lengths | None, None, "It.") == Parameter(
        "window", Measured, None, "It.", optional=True, low=1
    )
    assert parameter("cells", Counts, 7, "It.") == Parameter("cells", PerAxis, 7, "It.", low=1)


@pytest.mark.parametrize(
    ("given", "words"),
    [(0, "window must be at least 1; got 0"), ("-2", "window must be at least 1; got '-2'"),
     (1.5, "window must be a whole number"), (True, "window must be a whole number"),
     ((8, 1.5), "or one for each axis"), ("3mm", "or one for each axis"), (None, "window must be a whole number")],
)  # fmt: skip
def test_what_a_setting_refuses(given, words):
    with pytest.raises(ParameterError, match=words):
        parameter("window", Counts, 1, "It.").check(given)
