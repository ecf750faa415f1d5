"""Receptive fields on the command line."""

from __future__ import annotations

import json

import pytest

NETWORK = ("--model", "nets.py:tiny", "--input-size", 32)
TEXTBOOK = """
from torch import nn

def vgg():
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(128, 8, 3, stride=(2, 1), padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def textbook(tmp_path):
    (tmp_path / "vgg.py").write_text(TEXTBOOK)
    return ("--model", str(tmp_path / "vgg.py:vgg"), "--input-size", "24x20")


def test_output_sizes_parameters_and_fields_of_the_textbook(cnnviz, textbook):
    _, *rows = [line.split() for line in cnnviz("layers", *textbook).stdout.splitlines()]
    assert rows[0][1:8] == ["Conv2d", "64x24x20", "1,792", "1", "3", "1", "0"]
    assert rows[2][1:8] == ["Conv2d", "128x24x20", "73,856", "1", "5", "1", "0"]
    assert rows[4][1:9] == ["Conv2d", "8x12x20", "9,224", "1", "7", "2x1", "0", "spatial"]
    assert " ".join(rows[5][5:]) == "- - - whole (global pooling)"
    found = json.loads(cnnviz("layers", *textbook, "--json").stdout)
    assert found[4]["field"] == {
        "kind": "spatial", "because": None, "size": [7, 7], "stride": [2, 1], "offset": [0, 0],
        "regular": True, "aligned": True,
    }  # fmt: skip


def test_effective_fields(cnnviz, tmp_path):
    found = json.loads(cnnviz("layers", *NETWORK, "--effective", "--count", 3, "--json").stdout)
    assert [one["layer"] for one in found] == ["3"]
    assert found[0]["inputs"] == 3
    assert 0 < found[0]["size"] <= 32
    out = tmp_path / "fields.png"
    result = cnnviz("layers", *NETWORK, "--effective", "--layer", "0, 3", "-o", out)
    header, first, second, written = result.stdout.splitlines()
    assert header.split()[:3] == ["layer", "field", "effective"]
    assert (first.split()[0], second.split()[0], first.split()[1]) == ("0", "3", "3")
    assert written == str(out)
    assert out.exists()


def test_effective_fields_over_pictures(cnnviz, photo):
    found = json.loads(cnnviz("layers", *NETWORK, "--effective", "--layer", "0", "--images", photo(), "--json").stdout)
    assert found[0]["inputs"] == 1
    assert any("at least 20" in check for check in found[0]["checks"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layer", "0"), "--layer goes with --effective"),
        (("--effective", "--rank", "a.png"), "two questions"),
        (("--effective", "--images", "a.png", "--count", 2), "every picture counts"),
        (("--effective", "--layer", "9"), "no layer '9'"),
        (("--effective", "--images", "absent.png"), "absent.png"),
        (("--effective", "--layer", "6"), "no spatial extent"),
    ],
)
def test_what_cannot_be_asked(cnnviz, words, said):
    result = cnnviz("layers", *NETWORK, *words)
    assert result.exit_code == 2 or said == "absent.png"
    assert said in result.stderr
