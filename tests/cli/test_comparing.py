"""compare, and layers with --rank."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

NETWORK = ("--model", "nets.py:tiny", "--input-size", 32)


def test_compare_writes_one_grid_with_its_provenance(cnnviz, photo, folder):
    result = cnnviz("compare", *NETWORK, "--methods", "gradcam,gradcam++,eigencam", photo("a.png"), photo("b.png"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == ["compare.png"]
    record = json.loads(cnnviz("info", "compare.png", "--json").stdout)
    assert record["method"] == "compare"
    assert list(record["settings"]) == ["eigencam", "gradcam", "gradcam++"]
    assert len(record["images"]) == 2


def test_compare_says_which_methods_coincide(cnnviz, photo):
    result = cnnviz("compare", *NETWORK, "--methods", "gradcam,xgradcam,hirescam", photo("a.png"))
    assert "gradcam, xgradcam and hirescam give the same maps here" in result.stderr


def test_compare_goes_on_after_a_bad_picture(cnnviz, photo):
    result = cnnviz("compare", *NETWORK, "--methods", "gradcam", photo("a.png"), "absent.png", "-o", "out.svg")
    assert result.exit_code == 1
    assert result.stdout.split() == ["out.svg"]
    assert "absent.png" in result.stderr


def test_compare_refuses_before_it_opens_the_network(cnnviz, photo):
    result = cnnviz("compare", "--model", "nets.py:broken", "--methods", "gradcam,gradcamm", photo("a.png"))
    assert result.exit_code == 2
    assert "'gradcam'" in result.stderr
    (result,) = [cnnviz("compare", *NETWORK, "--methods", "dff", photo("a.png"))]
    assert result.exit_code == 2
    assert "gives no heat maps" in result.stderr


def test_layers_are_ranked_on_a_picture(cnnviz, photo):
    result = cnnviz("layers", *NETWORK, "--rank", photo("a.png"), "-o", "ranked.png")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["layer", "kept", "lost"]
    assert lines[-1] == "ranked.png"
    assert np.asarray(Image.open("ranked.png")).ndim == 3
    found = json.loads(cnnviz("layers", *NETWORK, "--rank", photo("a.png"), "-o", "again.png", "--json").stdout)
    evidence = [one["kept"] + one["lost"] for one in found]
    assert evidence == sorted(evidence, reverse=True)


def test_the_layer_that_is_taken_is_marked(cnnviz):
    found = json.loads(cnnviz("layers", *NETWORK, "--json").stdout)
    assert [one["name"] for one in found if one["automatic"]] == ["3"]


def test_compare_as_numbers(cnnviz, photo, folder):
    arguments = ("compare", *NETWORK, "--methods", "gradcam, cam", photo("a.png"), photo("b.png"))
    found = json.loads(cnnviz(*arguments, "--json", "-o", "both.npz").stdout)
    assert [entry["image"] for entry in found] == ["a.png", "b.png"]
    assert set(found[0]["maps"]) == {"gradcam", "cam"}
    with np.load(folder / "both.npz") as held:
        assert held["gradcam"].shape == held["cam"].shape == (2, 16, 16)
