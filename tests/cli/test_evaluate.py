"""evaluate: tables, pages and figures of drawn scenes, masks and boxes; certificates; what is refused."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

import cnnviz as package

NETWORK = ("--model", "shapes-resnet")
CHEAP = ("--metrics", "gini,mass")


@pytest.fixture
def photographs(folder):
    """Three drawn scenes as files, with their masks and boxes."""
    (folder / "photos").mkdir()
    (folder / "truth").mkdir()
    boxes = {}
    for index in range(3):
        scene = package.draw_scene(index)
        Image.fromarray(scene.pixels).save(folder / "photos" / f"{index}.png")
        Image.fromarray(scene.mask.astype(np.uint8) * 255).save(folder / "truth" / f"{index}.png")
        rows, columns = np.nonzero(scene.mask)
        boxes[f"{index}.png"] = [[int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def test_a_table_is_printed_and_a_page_is_made_again(cnnviz):
    result = cnnviz("evaluate", *NETWORK, "--methods", "gradcam,layercam", *CHEAP, "shapes:3")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["gini", "\N{UPWARDS ARROW}", "mass", "\N{UPWARDS ARROW}", "forwards", "s/image"]
    assert [line.split()[0] for line in lines[1:3]] == ["gradcam", "layercam"]
    assert [line.split()[0] for line in lines[4:8]] == ["random", "centre", "edges", "constant"]
    assert "note: 3 pictures are few" in result.stderr
    made = cnnviz("evaluate", *NETWORK, "--methods", "gradcam,layercam", *CHEAP, "shapes:3", "-o", "table.html")
    assert made.stdout.split() == ["table.html"]
    again = cnnviz("rerun", "table.html")
    assert "identical, byte for byte" in again.stderr
    assert json.loads(cnnviz("info", "table.html", "--json").stdout)["method"] == "evaluate"


def test_masks_boxes_and_files_of_every_kind(cnnviz, photographs):
    asked = ("evaluate", *NETWORK, "--methods", "gradcam", "photos")
    result = cnnviz(*asked, *CHEAP, "--masks", "truth", "-o", "masks.csv")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader((photographs / "masks.csv").read_text().splitlines()))
    areas = [package.draw_scene(index).mask.mean() for index in range(3)]
    mass = {row["method"]: float(row["mean"]) for row in rows if row["metric"] == "mass"}
    assert mass["constant"] == pytest.approx(np.mean(areas))
    assert {row["pictures"] for row in rows} == {"3"}
    result = cnnviz(
        *asked, "--metrics", "mass", "--boxes", "boxes.json", "--json", "-o", "boxes.json.png", "--columns", 1
    )
    document = json.loads(result.stdout)
    assert document["output"] == "boxes.json.png"
    assert next(row for row in document["table"] if row["method"] == "constant")["mean"] > mass["constant"]
    assert set(document["costs"]) == {"gradcam", "random", "centre", "edges", "constant"}
    assert "identical, byte for byte" in cnnviz("rerun", "boxes.json.png", "--images", "photos", "--images", ".").stderr
    curves = ("--metrics", "deletion", "--budget", 2, "--figure", "curves", "-o", "curves.pdf")
    assert cnnviz(*asked, *curves).exit_code == 0
    assert cnnviz("rerun", "curves.pdf", "--trust").stderr.startswith("identical")


def test_settings_layers_and_targets(cnnviz, folder):
    result = cnnviz(
        "evaluate", *NETWORK, "--methods", "gradcam,rise", "--set", "masks=4", "--layers", "layer1,layer2", *CHEAP,
        "--target", "label", "shapes:2", "-o", "table.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    held = json.loads((folder / "table.json").read_text())
    assert list(held["pictures"][0]["values"])[:3] == ["gradcam@layer1", "gradcam@layer2", "rise"]
    assert [each["target"] for each in held["pictures"]] == [package.draw_scene(index).label for index in range(2)]
    assert "identical, byte for byte" in cnnviz("rerun", "table.json").stderr


def test_jobs_and_a_folder(cnnviz, folder):
    asked = ("evaluate", *NETWORK, "--methods", "gradcam", *CHEAP, "--block", 1, "--folder", "study", "shapes:3")
    result = cnnviz(*asked, "--shard", "1/2")
    assert result.stdout.split() == ["study"]
    assert "2 parts were found" in result.stderr
    assert cnnviz(*asked, "--shard", "2/2", "--json").stdout.count('"parts": 1') == 1
    assert cnnviz(*asked, "-o", "table.npz").exit_code == 0
    with np.load(folder / "table.npz") as arrays:
        assert arrays["values"].shape == (3, 5, 2)
    other = cnnviz("evaluate", *NETWORK, "--methods", "layercam", *CHEAP, "--folder", "study", "shapes:3")
    assert other.exit_code == 1
    assert "The study in 'study' is of something else: other methods" in other.stderr


def test_one_photograph_has_a_certificate(cnnviz, photographs):
    asked = ("evaluate", *NETWORK, "--methods", "gradcam,saliency", "photos/1.png", "--budget", 2)
    lines = cnnviz(*asked).stdout.splitlines()
    assert len(lines) == 2
    assert re.match(r"1\.png, \w+, Grad-CAM: .* of 50 random maps as smooth; .*\.$", lines[0])
    single = ("evaluate", *NETWORK, "--methods", "gradcam", "photos/1.png", "--budget", 2)
    made = cnnviz(*single, "-o", "certificate.json")
    assert made.stdout.splitlines() == ["certificate.json", lines[0]]
    assert "identical, byte for byte" in cnnviz("rerun", "certificate.json", "--images", "photos").stderr
    table = cnnviz(*single, "--metrics", "gini")
    assert table.stdout.splitlines()[1].startswith("gradcam")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--methods", "gradcma", "shapes:2"], 2, "There is no method 'gradcma'. Did you mean 'gradcam'"),
        (
            ["--methods", "gradcam", "--metrics", "gini,sgr", "shapes:2"],
            2,
            "There is no metric 'sgr'. Did you mean 'srg'",
        ),
        (["--methods", "gradcam", "--metrics", "mass", "photos"], 2, "mass: needs to know where the objects are"),
        (["--methods", "gradcam", "--masks", "nowhere", "photos"], 1, "There is no folder 'nowhere' of masks"),
        (["--methods", "gradcam", "--boxes", "nets.py", "photos"], 1, "'nets.py' is no JSON"),
        (["--methods", "gradcam", "--masks", "truth", "--boxes", "boxes.json", "photos"], 2, "give one"),
        (["--methods", "gradcam", "nowhere"], 1, "There is no folder or file 'nowhere'"),
        (["--methods", "gradcam", "shapes:2", "-o", "table.txt"], 1, "must end in .html"),
        (["--methods", "gradcam", "shapes:2", "-o", "table.csv", "--columns", "1"], 2, "--columns is about a figure"),
        (["--methods", "gradcam", "shapes:2", "--figure", "curves"], 2, "--figure is about a figure"),
        (
            ["--methods", "gradcam", "shapes:2", "--metrics", "gini", "--figure", "curves", "-o", "c.png"],
            2,
            "has a curve",
        ),
        (["--methods", "gradcam", "shapes:2", "--shard", "1/2"], 2, "name the folder for what is found with --folder"),
        (["--methods", "gradcam", "shapes:2", "--shard", "3/2", "--folder", "f"], 2, "shard is a job among several"),
        (["--methods", "gradcam", "shapes:2", "--set", "windw=3"], 2, "There is no setting 'windw'"),
        (["--methods", "gradcam", "shapes:2", "--target", "dodecagon"], 2, "dodecagon"),
        (["--methods", "gradcam", "photos", "--target", "label"], 2, "has no classes, so 'label' says nothing"),
        (["--methods", "gradcam", "photos/1.png", "--set", "window=3"], 2, "takes --layer and --budget"),
        (["--methods", "gradcam,cam", "photos/1.png", "-o", "c.json"], 2, "2 methods have a certificate each"),
        (["--methods", "gradcam", "photos/1.png", "-o", "c.html"], 1, "must end in .json"),
        (["--methods", "filters", "shapes:2"], 2, "'filters' gives no map of each picture"),
        (["--methods", "", "shapes:2"], 2, "Name at least one method"),
    ],
)
def test_refusals_are_one_sentence(cnnviz, photographs, arguments, code, words):
    result = cnnviz("evaluate", *NETWORK, *arguments)
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_file_that_is_there_is_kept(cnnviz, folder):
    (folder / "table.html").write_text("mine")
    result = cnnviz("evaluate", *NETWORK, "--methods", "gradcam", *CHEAP, "shapes:2", "-o", "table.html")
    assert result.exit_code == 1
    assert "'table.html' exists already" in result.stderr
    assert (folder / "table.html").read_text() == "mine"


def test_the_protocol_of_rise_is_a_number_of_steps(cnnviz, photographs):
    asked = ("evaluate", *NETWORK, "--methods", "gradcam", "--metrics", "deletion", "-o", "values.npz")
    result = cnnviz(*asked, "--budget", "rise-2018", "shapes:1")
    assert result.exit_code == 0, result.stderr
    with np.load(photographs / "values.npz") as held:
        assert held["deletion_curves"].shape[-1] == 28 + 1
    refused = cnnviz(*asked, "--budget", "rise", "shapes:1")
    assert refused.exit_code == 2
    assert "expected a number from 1, or rise-2018" in refused.stderr


def test_of_a_photograph_the_protocol_has_224_steps(cnnviz, photographs, monkeypatch):
    asked = {}

    def certify(*_given, **settings):
        asked.update(settings)
        raise package.UsageError("enough")

    monkeypatch.setattr("cnnviz.certify", certify)
    cnnviz("evaluate", *NETWORK, "--methods", "gradcam", "photos/1.png", "--budget", "rise-2018")
    assert asked["budget"] == 224
