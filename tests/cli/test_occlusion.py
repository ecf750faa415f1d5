"""Occlusion on the command line."""

from __future__ import annotations

import json

import pytest

TINY = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)


@pytest.mark.parametrize("name", ["occlusion", "rise", "feature-occlusion"])
def test_interrupted(cnnviz, photo, name):
    result = cnnviz(name, "--model", "nets.py:Interrupted", "--input-size", 32, photo("cat.jpg"))
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"


def test_a_budget_says_its_error_bar(cnnviz, photo):
    result = cnnviz("occlusion", *TINY, photo(), "--budget", 60, "--json")
    (one,) = json.loads(result.stdout)
    assert one["error_bar"] > 0
    assert "at least 90 % of them are within" in one["checks"][-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", 40), "window must be at most 32"),
        (("--window", 4, "--stride", 8), "stride must be at most the window's 4"),
        (("--budget", 9), "budget must be at least"),
        (("--budget", 90, "--seconds", 2), "exclude each other"),
        (("--baseline", "gray"), "There is no baseline 'gray'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(cnnviz, photo, options, words):
    result = cnnviz("occlusion", *TINY, *options, photo())
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if not line.startswith("note: "))
    assert words in line
