"""``cnnviz filters`` and ``cnnviz features``, and a unit as the target of the methods that explain."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import cnnviz as library
from cnnviz.provenance import Provenance

TINY = ("--model", "nets.py:tiny", "--input-size", 32)


def test_filters_need_no_picture_and_are_named_after_the_network(cnnviz, folder):
    result = cnnviz("filters", *TINY)
    assert result.exit_code == 0, result.output
    assert result.stdout == "tiny.filters.png\n"
    assert "note: layer 0, the first whose kernels are larger than 1 x 1" in result.stderr
    record = Provenance.from_json(library.read_note(folder / "tiny.filters.png"))
    assert (record.method, record.layer) == ("filters", "0")
    assert cnnviz("filters", *TINY, "--layer", "2").stdout == "tiny.2.filters.png\n"
    assert cnnviz("filters", *TINY, "-o", "new/").stdout == "new/tiny.filters.png\n"


def test_filters_options_reach_the_method(cnnviz, folder):
    result = cnnviz("filters", *TINY, "--layer", 2, "--sort", "norm", "--most", 3, "--channels", 2, "-o", "k.npz")
    assert result.exit_code == 0, result.output
    held = np.load(folder / "k.npz")
    assert held["values"].shape == (8, 8, 3, 3)
    assert held["inputs"].shape == (3, 2)
    assert held["drawn"].tolist() == np.argsort(-held["norms"], kind="stable")[:3].tolist()


def test_filters_as_json(cnnviz):
    said = json.loads(cnnviz("filters", *TINY, "--json").stdout)
    assert (said["layer"], said["shape"], said["output"]) == ("0", [8, 3, 3, 3], "tiny.filters.png")
    assert len(said["norms"]) == 8
    assert said["dead"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (("--layer", "6"), "Layer '6' (Linear) has no kernels over rows and columns", 2),
        (("--layer", "9"), "There is no layer '9'", 2),
        (("--units", "8"), "units 0 to 7; there is no unit 8", 2),
        (("--compress", "unit"), "nothing to compress to 3 colours", 2),
        (("-o", "k.txt"), "must end in .png", 1),
    ],
)
def test_filters_say_what_is_wrong(cnnviz, arguments, sentence, code):
    result = cnnviz("filters", *TINY, *arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_features_write_a_grid_a_picture(cnnviz, photo, folder):
    result = cnnviz("features", *TINY, "--layer", 1, photo(), photo("dog.jpg"))
    assert result.exit_code == 0, result.output
    assert result.stdout == "cat.features.1.png\ndog.features.1.png\n"
    for name in ("cat", "dog"):
        with Image.open(folder / f"{name}.features.1.png") as image:
            assert image.width > 300


@pytest.mark.parametrize("style", ["maps", "overlay", "masked"])
def test_features_in_every_style(cnnviz, photo, folder, style):
    picture = photo()
    result = cnnviz("features", *TINY, "--layer", 1, "--units", "0-3", "--style", style, "--quantile", 0.8, picture)
    assert result.exit_code == 0, result.output
    record = Provenance.from_json(library.read_note(folder / "cat.features.1.png"))
    assert record.settings["units"] == "0-3"
    assert (record.look["style"], record.look["quantile"]) == (style, 0.8)


def test_features_together_and_as_json(cnnviz, photo, folder):
    names = photo("a.png"), photo("b.png")
    (one, other) = json.loads(cnnviz("features", *TINY, "--layer", 1, *names, "-o", "both.npz", "--json").stdout)
    assert (one["image"], other["image"], one["output"]) == ("a.png", "b.png", "both.npz")
    assert one["units_in_layer"] == 8
    values = np.load(folder / "both.npz")["values"]
    assert values.shape == (2, 8, 16, 16)
    assert one["units"][0]["highest"] == pytest.approx(float(values[0, 0].max()))


def test_features_go_on_after_a_bad_picture(cnnviz, photo, folder):
    (folder / "bad.jpg").write_text("no picture")
    result = cnnviz("features", *TINY, "--layer", 1, "bad.jpg", photo())
    assert result.exit_code == 1
    assert result.stdout == "cat.features.1.png\n"
    assert "bad.jpg" in result.stderr


UNIT_METHODS = {
    "saliency": (),
    "guided-backprop": (),
    "deconvnet": (),
    "occlusion": ("--window", 8, "--stride", 8),
    "gradcam": (),
}


@pytest.mark.parametrize("target", ["2:5", "2:5@3,4"])
@pytest.mark.parametrize("name", UNIT_METHODS)
def test_what_a_unit_looks_at_is_one_command(cnnviz, photo, folder, name, target):
    result = cnnviz(name, *TINY, "--target", target, *UNIT_METHODS[name], photo(), "-o", "unit.npz", "--json")
    assert result.exit_code == 0, result.output
    (said,) = json.loads(result.stdout)
    placed = name == "deconvnet" and target == "2:5"  # the largest activation alone, and where that is
    assert re.fullmatch(r"2:5@\d+,\d+" if placed else re.escape(target), said["target"])
    values = np.load(folder / "unit.npz")["values"]
    assert np.isfinite(values).all()
    assert values.any()


def test_saliency_of_a_unit_is_the_gradient_of_its_mean(cnnviz, photo, folder):
    picture = photo()
    cnnviz("saliency", *TINY, "--target", "2:5", picture, "-o", "unit.npz")
    model = library.load_model("nets.py:tiny", input_size=(32, 32))
    inputs, _ = model.preprocess(library.read_picture(picture))
    leaf = inputs[None].requires_grad_()
    model.module[:3](leaf)[0, 5].mean().backward()
    assert torch.allclose(torch.from_numpy(np.load(folder / "unit.npz")["values"]), leaf.grad, atol=1e-7)
