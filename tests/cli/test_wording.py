"""Help texts and notes use the field's words, in one form, and name options instead of settings of Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cnnviz.cli.app import main

from cli.output import name_options
from cnnviz.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
HELP = re.compile(r"\b(left out,|whatever|speaks? for|sign turned|of its own network|places reach)", re.IGNORECASE)
NOTES = re.compile(
    r"places reach|whatever the (class|layer)|speaks? for|[0-9}]%? beyond\b|tells? (no|one) image|nobody knows|"
    r"count alike|nothing comes through|hangs\b|is no fault|are no `nn",
)
CODE = [*sorted((ROOT / "cnnviz").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]


def helps() -> Iterator[tuple[str, str]]:
    """Every command's first sentence and every option's help, by name."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, (command.help or "").partition("\n\n")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.help:
                yield f"{name} {parameter.opts[0]}", parameter.help


HELPS = dict(helps())


def test_help_texts_are_sentences():
    assert len(HELPS) > 10 * len(CATALOGUE)
    wrong = [where for where, text in HELPS.items() if not re.match(r"[A-Z0-9.'(]|\w+: ", text) or text[-1] != "."]
    assert wrong == []


def test_help_texts_use_the_words_of_the_field():
    assert {where: found[0] for where, text in HELPS.items() if (found := HELP.search(text))} == {}


def test_what_is_said_uses_the_words_of_the_field():
    """No text of the code that is not a docstring holds any of the phrases."""
    wrong = []
    for file in CODE:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
                wrong += [(file.name, node.lineno, found[0]) for found in NOTES.finditer(node.value)]
    assert wrong == []


def test_the_readme_uses_the_words_of_the_field():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"; left out,|whatever the (?:class|layer)|speaks? for|are no `nn|call a question", text) == []


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("the batch norm is not folded in; fold=True does it", "the batch norm is not folded in; --fold does it"),
        ("used as classes; classes=False turns that off", "used as classes; --no-classes turns that off"),
        ("choose others with most=... or units=...", "choose others with --most or --units"),
        ("saturated; try score='logit'", "saturated; try --score logit"),
        ("with max_steps=...", "with --max-steps"),
        ("set Model(..., grid=(rows, columns)) or --grid", "set Model(..., grid=(rows, columns)) or --grid"),
        ("k=3 largest values", "k=3 largest values"),
    ],
)
def test_notes_of_the_command_line_name_options(note: str, said: str):
    assert name_options(note) == said
