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
    assert "at least 90 % of them within" in one["checks"][-2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", 40), "window must be at most 32"),
        (("--window", "8x40"), "window must be at most 32 x 32, the size of what it hides; got 8 x 40"),
        (("--window", "8x8x8"), "window must be one number, or one for each axis of a picture of 32 x 32; got 8x8x8"),
        (("--window", "8mm"), "is 8mm, but how many millimetres the pixels of 'cat.jpg' lie apart is not known"),
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


def test_windows_of_several_lengths(cnnviz, photo):
    oblong = cnnviz("occlusion", *TINY, photo(), "--window", "8x16", "--stride", "8x16", "-o", "oblong.npz", "--json")
    assert oblong.exit_code == 0
    square = cnnviz("occlusion", *TINY, photo(), "--window", "8x8", "--stride", 8, "-o", "square.npz", "--json")
    plain = cnnviz("occlusion", *TINY, photo(), "--window", 8, "--stride", 8, "-o", "plain.npz", "--json")
    ((one,), (other,), (wide,)) = (json.loads(each.stdout) for each in (square, plain, oblong))
    assert one["peak"] == other["peak"]
    assert wide["score"] == other["score"]


@pytest.mark.parametrize("value", ["0", "-3", "8x", "8 miles", "0x4", "large"])
def test_what_is_no_window_is_bad_usage(cnnviz, photo, value):
    result = cnnviz("occlusion", *TINY, photo(), f"--window={value}")
    assert result.exit_code == 2
    assert "Invalid value for '--window': window must be " in result.stderr
    assert f"got {value}." in result.stderr or f"got '{value}'." in result.stderr
