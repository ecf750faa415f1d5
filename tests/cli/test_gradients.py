"""Gradient methods on the command line, and the browser of a layer's units."""

from __future__ import annotations

import json

import numpy as np
import pytest

NETWORK = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)
METHODS = ("saliency", "smoothgrad", "integrated-gradients", "guided-backprop", "guided-gradcam", "deconvnet")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_a_picture(cnnviz, photo, folder, method):
    done = cnnviz(method, *NETWORK, photo())
    assert done.exit_code == 0, done.output
    assert done.stdout == f"cat.{method}.png\n"
    assert (folder / f"cat.{method}.png").is_file()


def test_coverage_and_what_is_not_shown_are_said(cnnviz, photo):
    done = cnnviz("guided-backprop", *NETWORK, photo())
    assert "note: guided rule applied to relu x" in done.stderr
    assert "not class-discriminative" in done.stderr


def test_settings_become_options(cnnviz, photo, folder):
    done = cnnviz(
        "smoothgrad", *NETWORK, "--samples", 2, "--channels", "signed", "-o", "a.npz", photo(), photo("dog.jpg")
    )
    assert done.exit_code == 0, done.output
    with np.load(folder / "a.npz") as held:
        assert held["values"].shape == (2, 3, 32, 32)
        assert json.loads(str(held["provenance"]))["cnnviz"]["settings"]["channels"] == "signed"


def test_json_has_an_entry_a_picture(cnnviz, photo):
    done = cnnviz("saliency", *NETWORK, "--json", photo(), photo("dog.jpg"))
    entries = json.loads(done.stdout)
    assert [entry["output"] for entry in entries] == ["cat.saliency.png", "dog.saliency.png"]
    assert all(entry["peak"] for entry in entries)


def test_units_of_a_layer_go_into_one_picture(cnnviz, photo, folder):
    done = cnnviz("deconvnet", *NETWORK, "--layer", "0", "--units", "0-2", photo(), photo("dog.jpg"))
    assert done.exit_code == 0, done.output
    assert done.stdout == "deconvnet.0.png\n"
    assert (folder / "deconvnet.0.png").is_file()


def test_units_as_json(cnnviz, photo):
    done = cnnviz("deconvnet", *NETWORK, "--layer", "0", "--units", "1", "--json", photo())
    (entry,) = json.loads(done.stdout)
    assert entry["layer"] == "0"
    assert entry["units"][0]["unit"] == 1
    assert entry["units"][0]["images"] == ["cat.jpg"]


WRONG = [
    (("--units", "0-2"), "of which layer"),
    (("--layer", "0", "--units", "99"), "there is no unit 99"),
    (("--layer", "0", "--units", "a"), "numbers and ranges"),
    (("--layer", "9"), "no layer '9'"),
    (("--layer", "0", "--target", "tabby"), "without a target"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_is_wrong_is_one_sentence(cnnviz, photo, options, message):
    done = cnnviz("deconvnet", *NETWORK, *options, photo())
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_captums_algorithms_are_commands(cnnviz, photo, folder):
    done = cnnviz("captum:FeatureAblation", *NETWORK, "--cells", 2, photo())
    assert done.exit_code == 0, done.output
    assert (folder / "cat.captum.png").is_file()
    wrong = cnnviz("captum:Lim", *NETWORK, photo())
    assert wrong.exit_code == 2
    assert "Lime" in wrong.stderr
