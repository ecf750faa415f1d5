"""The font and size of words: set, restored, and refused."""

from __future__ import annotations

import pytest

import cnnviz
from cnnviz.drawing.text import Lettering, current_style, text_width
from cnnviz.errors import ParameterError, UnknownNameError


@pytest.fixture(autouse=True)
def as_it_was():
    before = current_style()
    yield
    cnnviz.style(font=before.font, size=before.size)


def test_a_style_holds_until_it_is_changed_and_in_with_only_inside():
    assert current_style() == Lettering("DejaVu Sans", 8.0)
    usual = text_width("Grad-CAM", 30)
    cnnviz.style(size=9)
    with cnnviz.style(font="dejavu sans mono"):
        assert current_style() == Lettering("DejaVu Sans Mono", 9.0)
        assert text_width("Grad-CAM", 30) != usual
    assert current_style() == Lettering("DejaVu Sans", 9.0)
    with pytest.raises(RuntimeError, match="inside"), cnnviz.style(size=20):
        raise RuntimeError("inside")
    assert current_style().size == 9.0
    assert text_width("Grad-CAM", 30) == usual


def test_a_font_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no font 'DejaVu Sanz'.*DejaVu Sans") as refused:
        cnnviz.style(font="DejaVu Sanz", size=12)
    assert refused.value.exit_code == 2
    assert current_style() == Lettering()


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), "8", True])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ParameterError, match="points above 0"):
        cnnviz.style(size=size)
