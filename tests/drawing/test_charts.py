"""Charts: what is drawn where, read from the figure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnviz.drawing.charts.charts import Curve, Dot, DotPanel, draw_curves, draw_intervals, draw_matrix
from cnnviz.drawing.files import rasterise


def panel(title: str, *, better: str = "higher") -> DotPanel:
    dots = (
        Dot("Grad-CAM", 0.6, 0.5, 0.7),
        Dot("$x$ and $", 0.4, 0.3, 0.5, hollow=True),
        Dot("Random", 0.1, float("nan"), float("nan"), control=True),
    )
    return DotPanel(title, better, dots)


def inside(figure) -> bool:
    """Whether all words lie within the figure."""
    FigureCanvasAgg(figure).draw()
    width, height = figure.bbox.size
    texts = [*figure.texts, *(text for axes in figure.axes for text in (axes.title, axes.xaxis.label, *axes.texts))]
    texts += [label for axes in figure.axes for label in axes.get_yticklabels() if label.get_text()[0].isalpha()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return all(box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1 for box in boxes)


@pytest.mark.parametrize(("width", "across"), [(3.25, 2), (6.75, 4), (2.0, 1)])
def test_intervals_stand_side_by_side_as_far_as_there_is_room(width, across):
    panels = [panel("SRG"), panel("IoU at the best threshold", better="lower"), *map(panel, "abc")]
    figure = draw_intervals(panels, width=width, title="Title", notes=["A note that is long enough to be folded. " * 3])
    lefts = {round(axes.get_position().x0, 3) for axes in figure.axes}
    assert len(lefts) == across
    assert figure.get_figwidth() == width
    assert inside(figure)


def test_a_dot_is_its_mean_a_line_its_interval_and_a_ring_is_hollow():
    (axes,) = draw_intervals([panel("SRG")], width=4).axes
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in lines] == [0.6, 0.4, 0.1]
    assert [line.get_markerfacecolor() == "white" for line in lines] == [False, True, False]
    bars = [list(map(float, line.get_xdata())) for line in axes.lines if line.get_marker() == "None"]
    assert bars[:2] == [[0.5, 0.7], [0.3, 0.5]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Grad-CAM", "$x$ and $", "Random"]
    heights = [float(line.get_ydata()[0]) for line in lines]
    assert heights == sorted(heights, reverse=True)


def test_curves_have_bands_and_a_legend():
    line = np.linspace(1, 0, 5)
    curves = [Curve("Grad-CAM", line, line - 0.1, line + 0.1), Curve("Random", line**0, line**0, line**0, control=True)]
    figure = draw_curves([("Deletion", curves), ("SRG", curves)], along="% changed", width=6, notes=["note"])
    assert [axes.get_title() for axes in figure.axes] == ["Deletion", "SRG"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == line.tolist()
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 25, 50, 75, 100]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Grad-CAM", "Random"]
    assert inside(figure)


def test_a_matrix_says_its_numbers():
    values = np.array([[1, -0.25, np.nan], [-0.25, 1, 0.7], [np.nan, 0.7, 1]])
    figure = draw_matrix(values, ["Deletion", "SRG", "IoU at the best threshold"], width=6.75, notes=["note"])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[:3] == ["1.00", "\N{MINUS SIGN}0.25", "\N{EN DASH}"]
    assert inside(figure)
    assert figure.get_figwidth() <= 6.75
    assert rasterise(figure, 72).shape[2] == 3
