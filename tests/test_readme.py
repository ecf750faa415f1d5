"""The README tells the truth: its table is the catalogue, its files exist, its Python and its commands run."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import click
import cv2
import pytest
from click.testing import CliRunner
from PIL import Image

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, load
from tests.support.readme_words import PARSED_ONLY, WORDS, Command, blocks, python_snippets, stand_in

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)
COMMANDS = [command for block in BLOCKS for command in block]
SIDE = 96


def table() -> str:
    lines = ["| command | what it shows | cost | paper |", "| --- | --- | --- | --- |"]
    for name, entry in CATALOGUE.items():
        reference = load(name).reference
        lines.append(f"| `{command_name(name)}` | {entry.summary.rstrip('.')} | {entry.cost} | {reference} |")
    return "\n".join(lines)


@pytest.fixture(scope="session")
def command() -> click.Group:
    (entry,) = entry_points(group="console_scripts", name="cnnviz")
    loaded = entry.load()
    assert isinstance(loaded, click.Group)
    return loaded


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: a photograph, a folder of them, a short film, and a file that cnnviz made."""
    monkeypatch.chdir(tmp_path)
    scenes = [Image.fromarray(cnnviz.draw_scene(number, size=SIDE).pixels) for number in range(3)]
    (tmp_path / "photos").mkdir()
    for number, scene in enumerate(scenes):
        scene.save(tmp_path / "photos" / f"{number}.jpg")
    for name in ("photo.jpg", "cat.jpg"):
        scenes[0].save(tmp_path / name)
    film = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (SIDE, SIDE))
    for number in range(3):
        film.write(cv2.cvtColor(cnnviz.draw_scene(0, size=SIDE).pixels, cv2.COLOR_RGB2BGR) // (number + 1))
    film.release()
    cnnviz.gradcam(cnnviz.load_model("shapes-resnet"), "photo.jpg").save("made.png")
    return tmp_path


def test_the_table_of_methods_is_the_catalogue():
    found = TEXT.partition("<!-- methods -->\n")[2].partition("\n<!-- end of methods -->")[0]
    assert found == table()


def test_pictures_and_files_that_it_shows_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (README.parent / path).is_file(), path


@pytest.mark.parametrize("number", range(len(python_snippets(TEXT))))
def test_its_python_runs(reader: Path, number: int):
    before = set(reader.rglob("*"))
    snippet = python_snippets(TEXT)[number]
    exec(compile(snippet, f"README.md, snippet {number + 1}", "exec"), {})
    for name in re.findall(r"\.save\(\"([^\"]+)\"\)", snippet):
        assert (reader / name).is_file()
        assert reader / name not in before


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_its_commands_run(reader: Path, command: click.Group, number: int):
    for each in BLOCKS[number]:
        if each.reason is not None:
            continue
        words = stand_in(each.words)
        if "force" in {option.name for option in chosen(command, each).params}:
            words.append("--force")
        done = CliRunner().invoke(command, words, prog_name="cnnviz")
        assert done.exit_code == 0, f"{each.text}: {done.stderr}"


@pytest.mark.parametrize("each", COMMANDS, ids=lambda each: each.text)
def test_its_commands_are_spelt_right(command: click.Group, each: Command):
    found = chosen(command, each)
    found.make_context(each.words[0], list(each.words[1:]))


def chosen(command: click.Group, each: Command) -> click.Command:
    found = command.get_command(click.Context(command), each.words[0])
    assert found is not None, each.text
    return found


def test_commands_are_found_in_every_form():
    text = (
        "words\n\n    cnnviz a --model b c.jpg   # why\n    cnnviz models | info FILE\n\n"
        "```\npip install x && .venv/bin/cnnviz d\n```\n    torchrun -n 4 -m cnnviz p x\n    pip install cnnviz\n"
        "```python\nimport cnnviz\n```\n"
    )
    found = blocks(text)
    assert [[each.words for each in block] for block in found] == [
        [("a", "--model", "b", "c.jpg"), ("models",), ("info", "FILE")],
        [("p", "x")],
        [("d",)],
    ]
    assert found[1][0].reason == "needs several processes"
    assert found[0][0].reason is None
    assert python_snippets(text) == ["import cnnviz\n"]
    assert stand_in(("gradcam", "--model", "resnet50")) == ["gradcam", "--model", WORDS["resnet50"]]
    assert stand_in(("rise", "--masks", "9")) == ["rise", "--masks", "9"]
    assert all(re.compile(mark) and why for mark, why in PARSED_ONLY.items())
