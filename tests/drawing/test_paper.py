"""How figures are set on paper: width, words, names, and notes that leave the figure to its pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnviz
from cli.options import FIGURE
from cnnviz.drawing.figure import Grid
from cnnviz.drawing.paper import Paper
from cnnviz.drawing.sheet import Cell, Layout, Sheet
from cnnviz.drawing.text import current_style, line_height
from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.provenance import Caution, Margin, Measure, cautions, merge_checks, remarks
from cnnviz.rerunning.rerun import rerun


def a_grid(notes: int = 0, details: int = 0, rows: int = 1) -> Grid:
    cell = Cell(np.zeros((40, 60, 3), np.uint8), "a dog")
    said = tuple(
        f"caution {number} with more words than one line of one column of a paper holds" for number in range(notes)
    )
    more = tuple(f"detail {number}" for number in range(details))
    return Grid(Sheet(((cell, cell),) * rows, (), ("gradcam", "RISE"), "Grad-CAM \N{MIDDLE DOT} net", said, more))


def faint_lines(layout: Layout) -> tuple[str, ...]:
    return tuple(line for text in layout.texts if text.faint for line in text.lines)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_short_notes_take_one_line_or_15_percent_of_the_height(count: int, rows: int) -> None:
    layout = a_grid(count, 5, rows).layout(columns=1)
    (text,) = [each for each in layout.texts if each.faint]
    assert 1 <= len(text.lines) <= 3
    height = len(text.lines) * line_height(text.size)
    assert len(text.lines) == 1 or height <= 0.15 * layout.height
    assert not any("detail" in line for line in text.lines)
    assert len(text.lines) == min(count + 1, 3) or rows < 8
    assert "caution 0" in text.lines[0]


def test_what_is_left_out_of_short_notes_is_counted() -> None:
    first, rest, counted = faint_lines(a_grid(9, 0, 8).layout(columns=1))
    assert f"{first} {rest}" == a_grid(1).sheet.notes[0]
    assert counted == "8 more notes in the record"
    (line,) = faint_lines(a_grid(9).layout(columns=1))
    assert line.startswith("9 notes in the record, such as: caution 0")


def test_notes_name_methods_as_headings_do() -> None:
    sheet = dataclasses.replace(a_grid().sheet, notes=("Grad-CAM and Grad-CAM++ agree; XGrad-CAM does not",))
    assert Paper(rename={"gradcam": "ours"}).apply(sheet).notes == ("ours and Grad-CAM++ agree; XGrad-CAM does not",)


def test_full_notes_hold_every_word_and_none_holds_nothing() -> None:
    whole = " ".join(faint_lines(a_grid(4, 3).layout(columns=1, notes="full")))
    assert all(f"caution {number} with more words" in whole and "paper holds" in whole for number in range(4))
    assert all(f"detail {number}" in whole for number in range(3))
    assert not faint_lines(a_grid(4, 3).layout(columns=1, notes="none"))


def test_title_and_names_are_replaced() -> None:
    sheet = a_grid().sheet
    renamed = Paper(rename={"gradcam": "ours", "rise": "theirs"}).apply(sheet)
    assert (renamed.title, renamed.column_headings) == ("ours \N{MIDDLE DOT} net", ("ours", "theirs"))
    assert Paper(title="none").apply(sheet).title == ""
    assert Paper(title="Mine").apply(sheet).title == "Mine"
    assert Paper(rename={"Grad-CAM": "a"}).rename == {"gradcam": "a"}


def test_a_font_and_size_hold_for_one_figure_only() -> None:
    before = current_style()
    usual, large = a_grid(1).layout(width=5), a_grid(1).layout(width=5, font_size=16, font="DejaVu Serif")
    assert max(text.size for text in large.texts) == 2 * max(text.size for text in usual.texts)
    assert current_style() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": 1, "width": 3}, "give one"),
        ({"columns": 3}, "columns is 1"),
        ({"dpi": 0}, "dpi is a number above 0"),
        ({"width": "wide"}, "width is a number above 0"),
        ({"font_size": float("nan")}, "font_size is a number above 0"),
        ({"notes": "ful"}, "'full'"),
        ({"title": 3}, "title is a text"),
        ({"rename": {"gradcm": "x"}}, "'gradcam'"),
        ({"rename": ["gradcam"]}, "rename is a dictionary"),
    ],
)
def test_what_is_no_option_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises((ParameterError, UnknownNameError), match=said):
        Paper(**options)  # type: ignore[arg-type]


def test_a_cell_excludes_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not by both"):
        a_grid().save(tmp_path / "x.png", cell=100, columns=1)


def test_checks_keep_their_kind_and_measures_become_one() -> None:
    said = [
        Margin("error: {}", 0.8, form="{:.1f}%"),
        "chosen",
        Caution("blank"),
        Margin("error: {}", 2.3, form="{:.1f}%"),
    ]
    merged = merge_checks([*said, "chosen"])
    assert merged == ("error: 0.8% to 2.3% (2 maps)", "chosen", "blank")
    assert cautions(merged) == ("blank", "error: 0.8% to 2.3% (2 maps)")
    assert remarks(merged) == ("chosen",)
    assert not cautions([Measure("took {}", 1.0)])
    assert isinstance(Caution.like(said[0], "rise: more"), Caution)
    assert not isinstance(Caution.like("chosen", "rise: more"), Caution)


@pytest.fixture(scope="module")
def network() -> cnnviz.Model:
    return cnnviz.load_model("digits-lenet5")


def test_rise_on_30_pictures_says_one_line(network: cnnviz.Model) -> None:
    drawn = np.random.default_rng(0)
    pictures = [drawn.integers(0, 255, (*network.preprocess.input_size, 3)).astype(np.uint8) for _ in range(30)]
    found = cnnviz.rise(network, pictures, masks=30)
    (line,) = [check for check in found.checks if "standard error" in check]
    assert line.endswith("of the map's range (30 maps)")
    assert "% to " in line
    lowest, highest = (float(each.split("%")[0].split()[-1]) for each in line.split(" to "))
    one = found[3]
    own = 100 * float(one.spread.max()) / float(np.ptp(one.values))  # type: ignore[union-attr]
    assert f"{own:.1f}%" in next(check for check in one.checks if "standard error" in check)
    assert lowest <= round(own, 1) <= highest
    assert faint_lines(found.grid().layout(columns=2)) == ("Colours: gain in probability", line)
    assert not any("maps" in line for line in faint_lines(one.grid().layout(width=7)))


def test_a_figure_with_every_option_is_made_again(network: cnnviz.Model, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    found = cnnviz.gradcam(network, tmp_path / "digit.png")
    how = {
        "columns": 1,
        "dpi": 150,
        "font": "DejaVu Serif",
        "font_size": 7.0,
        "notes": "full",
        "title": "A",
        "rename": {"gradcam": "ours"},
    }
    for name in ("one.png", "one.pdf"):
        file = found.save(tmp_path / name, **how)
        again = rerun(file, tmp_path / f"again-{name}", images=tmp_path)
        assert file.read_bytes() == (tmp_path / f"again-{name}").read_bytes(), again
    assert {name: found.grid().provenance.look.get(name) for name in how} == dict.fromkeys(how)
    with Image.open(tmp_path / "one.png") as image:
        assert image.width == round(3.25 * 150)


FIGURES = ("gradcam", "rise", "compare", "features", "filters", "patches", "layers", "dff", "maximize", "predict")


@pytest.mark.parametrize("name", FIGURES)
def test_every_command_that_draws_takes_the_options(name: str) -> None:
    from cli.app import main

    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert {option.name for option in FIGURE} <= {parameter.name for parameter in command.params}
