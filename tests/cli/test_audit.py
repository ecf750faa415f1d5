"""audit: a data set on disk, what is said and written, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import cnnviz as package

NETWORK = ("--model", "shapes-resnet", "--device", "cpu")
CHEAP = ("--maps", 0, "--cases", 0)


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """Six scenes in folders of their classes, spelt another way; one of an unknown class, one broken."""
    monkeypatch.chdir(tmp_path)
    names = []
    for index, label in enumerate(("star", "heart", "ring")):
        for copy in range(2):
            path = tmp_path / "data" / label.upper() / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(package.draw_scene(10 * index + copy, label=label).pixels).save(path)
            names.append(f"{label.upper()}/{copy}.png")
    (tmp_path / "data" / "zebra").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "data" / "zebra" / "z.png")
    (tmp_path / "data" / "STAR" / "broken.png").write_bytes(b"no picture")
    return names


def test_a_summary_is_printed_and_what_was_left_out_is_said(cnnviz, scenes):
    result = cnnviz("audit", *NETWORK, *CHEAP, "data")
    assert result.stdout.startswith("shapes-resnet on data: 6 pictures, 2 left out\naccuracy   100.0% [61.0%, 100.0%]")
    assert "note: classes that are left out: 'zebra' is no label of the network (1 picture)" in result.stderr
    assert "note: pictures that could not be used: 1; the first: 'STAR/broken.png'" in result.stderr
    assert "--no-classes" not in result.stderr


def test_a_page_carries_its_record_and_is_replaced_on_request_only(cnnviz, scenes):
    asked = ("audit", *NETWORK, "--maps", 4, "--cases", 2, "data", "-o", "audit.html")
    assert cnnviz(*asked).stdout == "audit.html\n"
    assert json.loads(cnnviz("info", "audit.html", "--json").stdout)["method"] == "audit"
    result = cnnviz(*asked)
    assert result.exit_code == 1
    assert "--force" in result.stderr
    cnnviz(*asked, "--force")


def test_one_document_on_stdout(cnnviz, scenes):
    document = json.loads(cnnviz("audit", *NETWORK, *CHEAP, "data", "--json").stdout)
    assert document["output"] is None
    assert document["accuracy"]["count"] == document["pictures"] == 6
    assert document["left_out"]["unknown_classes"] == {"zebra": 1}
    assert [each["image"] for each in document["left_out"]["failures"]] == ["STAR/broken.png"]


def test_a_table_names_classes_and_groups(cnnviz, scenes, tmp_path):
    lines = [f"{name},{name.split('/')[0].lower()},{'odd' if '1.' in name else 'even'}" for name in scenes]
    (tmp_path / "truth.csv").write_text("\n".join(["file,class,copy", *lines]))
    result = cnnviz("audit", *NETWORK, *CHEAP, "data", "--truth", "truth.csv")
    assert "copy       even 100.0% [43.9%, 100.0%], odd 100.0% [43.9%, 100.0%]" in result.stdout


def test_two_networks_are_compared(cnnviz, scenes):
    result = cnnviz("audit", "--model", "shapes-resnet,shapes-vgg", "--device", "cpu", *CHEAP, "data")
    assert "against    shapes-vgg" in result.stdout
    assert "McNemar p = 1.000" in result.stdout


def test_figures_are_written(cnnviz, scenes):
    cnnviz("audit", *NETWORK, *CHEAP, "data", "-o", "confusion.pdf", "--columns", 1)
    cnnviz("audit", *NETWORK, *CHEAP, "data", "-o", "reliability.png", "--figure", "reliability")
    asked = ("audit", *NETWORK, *CHEAP, "data", "-o", "mistakes.png", "--figure", "mistakes")
    result = cnnviz(*asked)
    assert (result.exit_code, "There is no mistake to draw" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("data/zebra",), 1, "have no true classes; put them in a folder for each class"),
        (("nowhere",), 1, "There is no folder or file 'nowhere'"),
        (("data", "--truth", "none.csv"), 2, "There is no table 'none.csv'"),
        (("data", "--method", "gradcams"), 2, "Did you mean"),
        (("data", "--method", "dff"), 2, "gives no map of a class"),
        (("data", "--layer", "layer9"), 2, "There is no layer 'layer9'"),
        (("data", "--figure", "maps"), 2, "--figure is about a figure"),
        (("data", "--set", "window=3"), 2, "There is no setting 'window'"),
        (("data", "--model", "shapes-vgg,shapes-vgg"), 2, "an audit is of one network, or of two"),
        (("data", "-o", "audit.npz"), 1, "audit.npz"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_and_an_exit_code(cnnviz, scenes, arguments, code, sentence):
    result = cnnviz("audit", *NETWORK, *arguments)
    assert result.exit_code == code, result.stderr
    assert sentence.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr


def test_nothing_that_can_be_used_ends_with_an_error(cnnviz, scenes, tmp_path):
    for name in ("star", "ring"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "a.png").write_bytes(b"no")
    result = cnnviz("audit", *NETWORK, "broken")
    assert (result.exit_code, "No picture of the data set could be used" in result.stderr) == (1, True)
    for name in ("zebra", "gnu"):
        (tmp_path / "others" / name).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "others" / name / "a.png")
    result = cnnviz("audit", *NETWORK, "others")
    assert result.exit_code == 1
    assert "No picture of 'others' has a class that the network has" in result.stderr
