"""Signatures read from source: the same as those of the loaded methods."""

from __future__ import annotations

import sys

import pytest

import cnnviz
from cnnviz.catalogue import CATALOGUE, command_name, describe, read_signature
from cnnviz.errors import UnknownNameError

ODD = '''
from __future__ import annotations
from typing import Annotated, Final, Literal, TypeAlias
from annotated_types import Ge as AtLeast
from nowhere.heavy import Network, Answer
from odd_words import KIND as USUAL, Words

BASE: Final = 2
MOST = BASE + 1
Count: TypeAlias = Annotated[int, AtLeast(BASE)]

def asked(model: Network, *, many: Count | None = MOST, kind: Words = USUAL, on: bool = False) -> Answer | list[Answer]:
    """Ask.

    More.

    Args:
        model: It.
        many: How many
            there are.
        kind: Of which kind.
        on: Whether.

    Reference:
        Somebody, A paper,
        2020.
    """
    raise SystemExit
'''
WORDS = 'from typing import Literal\nKIND: str = "plain"\nWords = Literal["plain", "bold"]\nraise SystemExit\n'


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A module that cannot be run, with names from another one."""
    (tmp_path / "odd_method.py").write_text(ODD, encoding="utf-8")
    (tmp_path / "odd_words.py").write_text(WORDS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return read_signature("odd_method", "asked")


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_method_is_described_as_it_is(name):
    assert describe(name) == describe(command_name(name)) == getattr(cnnviz, name).signature


@pytest.mark.parametrize("name", ["predict", "report"])
def test_methods_that_are_commands_of_their_own(name):
    assert (
        read_signature({"report": "cnnviz.reporting.report"}.get(name, f"cnnviz.methods.{name}"), name)
        == getattr(cnnviz, name).signature
    )


def test_names_are_followed_and_nothing_is_run(odd):
    assert (odd.name, odd.needs, odd.usual) == ("asked", ("model",), "Answer")
    many, kind, on = odd.parameters.values()
    assert (many.kind, many.low, many.default, many.optional, many.help) == (int, 2, 3, True, "How many there are.")
    assert (kind.choices, kind.default) == (("plain", "bold"), "plain")
    assert (on.kind, on.default) == (bool, False)
    assert (odd.summary, odd.reference) == ("Ask.", "Somebody, A paper, 2020.")
    assert not {"odd_method", "odd_words", "nowhere"} & sys.modules.keys()


def test_a_name_that_means_nothing_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "odder_method.py").write_text("def asked(*, many: Missing = 1) -> int: ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NameError, match="Missing"):
        read_signature("odder_method", "asked")


def test_an_unknown_method_gets_the_nearest_names():
    with pytest.raises(UnknownNameError, match="gradcam"):
        describe("gradcan")
