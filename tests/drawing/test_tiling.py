"""Blocks of pictures: a little wider than high, hardly a place empty."""

from __future__ import annotations

import math

import pytest

from cnnviz.drawing.layout import well_across


@pytest.mark.parametrize(
    ("count", "across"), [(1, 1), (2, 2), (6, 3), (16, 4), (24, 6), (25, 5), (36, 6), (32, 8), (96, 12), (128, 16)]
)
def test_usual_numbers_fill_their_block(count, across):
    assert well_across(count) == across
    assert count % across == 0


@pytest.mark.parametrize("count", range(1, 41))
def test_no_ragged_row_where_a_nearly_square_block_is_full(count):
    full = [across for across in range(1, count + 1) if count % across == 0 and across / 2 <= count // across <= across]
    assert well_across(count) == (min(full) if full else well_across(count))
    assert full == [] or count % well_across(count) == 0


@pytest.mark.parametrize("count", range(1, 257))
def test_any_number(count):
    across = well_across(count)
    down = math.ceil(count / across)
    assert 1 <= across <= 16
    assert across * down - count < across
    assert down <= across or across in (count, 16)
    assert across <= 2 * down + 1, "not far wider than high"
