"""What the user's matplotlibrc and styles say: nothing of it reaches a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from cnnviz.drawing.colour import scale_of
from cnnviz.drawing.files import steady_settings
from cnnviz.drawing.sheet import Cell, Sheet
from cnnviz.results.result import Grid

VALUES = np.random.default_rng(0).standard_normal((9, 12))
SCALE = scale_of(VALUES, signed=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
GRID = Grid(Sheet(((Cell(PIXELS, "caption قطة 猫", SCALE),),), title="A title"))
WORDS = (
    "red",
    "lower",
    "bottom",
    "nearest",
    "large",
    "bold",
    "italic",
    "serif",
    "--",
    "in",
    "off",
    "x",
    "tight",
    "both",
)
ROOT = Path(__file__).resolve().parents[2]
UNTOUCHED = {"backend", "backend_fallback", "interactive", "toolbar", "timezone", "date.epoch", "docstring.hardcopy"}


def written(folder) -> dict[str, bytes]:
    return {ending: GRID.save(folder / f"a.{ending}", width=2).read_bytes() for ending in ("svg", "pdf", "png")}


def others(value: Any) -> Iterator[Any]:
    """Values that a setting may have instead."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (value * 3 + 1, value / 2, 1)
    elif isinstance(value, list):
        yield from ([5, 7], ["serif"], [0.1, 0.2])
    yield from (*WORDS, True, 2, (1, 100, 2))


@cache
def changed() -> dict[str, Any]:
    """Every setting as something that it usually is not."""
    found: dict[str, Any] = {}
    for name, usual in matplotlib.rcParamsDefault.items():
        for value in () if name in UNTOUCHED else others(usual):
            with suppress(Exception), matplotlib.rc_context():
                matplotlib.rcParams[name] = value
                if matplotlib.rcParams[name] != usual:
                    found[name] = value
                    break
    return found


def test_all_settings_at_once_change_no_byte(tmp_path):
    usual, odd = written(tmp_path), changed()
    assert len(odd) > 250
    assert {"text.usetex", "svg.image_inline", "savefig.facecolor", "axes.facecolor", "pdf.compression"} <= odd.keys()
    with matplotlib.rc_context(odd):
        before = dict(matplotlib.rcParams)
        assert written(tmp_path) == usual
        assert dict(matplotlib.rcParams) == before
    assert {each.name for each in tmp_path.iterdir()} == {"a.svg", "a.pdf", "a.png"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(matplotlib.rcParamsDefault) - UNTOUCHED))
def test_no_setting_alone_changes_a_byte(name, tmp_path):
    usual, odd = written(tmp_path), changed()
    if name in odd:
        with matplotlib.rc_context({name: odd[name]}):
            assert written(tmp_path) == usual


DRAW = """
import hashlib, json, sys
import numpy as np
from cnnviz.drawing.colour import scale_of, colour_bar
from tests.drawing.test_settings import written
from pathlib import Path
drawn = {ending: hashlib.sha256(held).hexdigest() for ending, held in written(Path(sys.argv[1])).items()}
drawn["colours"] = colour_bar(scale_of(np.array([-1.0, 1.0]), signed=True), 4, 64).tolist()
print(json.dumps(drawn))
"""


def test_a_matplotlibrc_changes_no_byte_and_no_colour(tmp_path):
    """Some settings count only where they stand as matplotlib is imported, such as how many colours a map has."""
    lines = (
        "image.lut: 7\ntext.usetex: True\nsvg.image_inline: False\nsavefig.facecolor: blue\npath.sketch: 1, 100, 2\n"
    )
    (tmp_path / "matplotlibrc").write_text(lines)
    found = []
    for more in ({}, {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}):
        done = subprocess.run(
            [sys.executable, "-c", DRAW, str(tmp_path)],
            capture_output=True, text=True, check=True, env={**os.environ, **more}, cwd=ROOT,
        )  # fmt: skip
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


def test_threads_that_write_at_once_leave_the_users_settings(tmp_path):
    with matplotlib.rc_context({"font.size": 23.0, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        inside: list[float] = []

        def draw(number: int) -> None:
            for turn in range(3):
                GRID.save(tmp_path / f"{number}-{turn}.svg")
                with steady_settings():
                    inside.append(matplotlib.rcParams["font.size"])

        several = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
        for each in several:
            each.start()
        for each in several:
            each.join()
        assert dict(matplotlib.rcParams) == before
        assert inside == [10.0] * 12
    assert len({(tmp_path / f"{number}-{turn}.svg").read_bytes() for number in range(4) for turn in range(3)}) == 1
