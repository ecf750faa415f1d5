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
    assert "Grad-CAM, XGrad-CAM and HiResCAM give identical maps here" in result.stderr


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


def test_compare_networks_and_layers_with_settings(cnnviz, photo):
    two = cnnviz(
        "compare", "--model", "nets.py:tiny,nets.py:pair", "--logits", 0, "--input-size", 32,
        "--methods", "gradcam,occlusion", "--set", "window=8", "--target", 1, photo("a.png"), "-o", "two.svg",
    )  # fmt: skip
    assert two.exit_code == 1  # one of them returns no tuple
    arguments = ("compare", *NETWORK, "--model", "nets.py:usual_dict", "--methods", "occlusion,gradcam")
    both = cnnviz(*arguments, "--set", "window=8", "--set", "relu=no", photo("a.png"), "-o", "both.png", "--json")
    assert both.exit_code == 0, both.stderr
    assert list(json.loads(both.stdout)[0]["maps"]) == [
        "tiny: occlusion", "tiny: gradcam", "usual_dict: occlusion", "usual_dict: gradcam",
    ]  # fmt: skip
    layers = cnnviz("compare", *NETWORK, "--methods", "layercam", "--layers", "1,3", photo("a.png"), "-o", "l.pdf")
    assert layers.exit_code == 0, layers.stderr
    for file in ("both.png", "l.pdf"):
        assert cnnviz("rerun", file, "--trust").stderr == "identical, byte for byte\n"


def test_compare_as_wide_as_a_column(cnnviz, photo):
    for columns, pixels in (("1", 975), ("2", 2025)):
        arguments = ("compare", *NETWORK, "--methods", "gradcam,cam", photo("a.png"), "--columns", columns)
        assert cnnviz(*arguments, "-o", f"{columns}.png").exit_code == 0
        with Image.open(f"{columns}.png") as image:
            assert image.width == pixels


def test_what_compare_refuses(cnnviz, photo):
    start = ("compare", *NETWORK, "--methods", "gradcam,occlusion", photo("a.png"))
    for more, words in (
        (("--set", "windw=8"), "Did you mean 'window'?"),
        (("--set", "window"), "write NAME=VALUE"),
        (("--set", "window=large"), "window must be a whole number"),
        (("--layers", "1,3", "--layer", "1"), "not both"),
        (("--layers", "1,1"), "compared with itself"),
        (("--columns", "1", "--width", "5"), "give one"),
        (("--model", "nets.py:pair", "--weights", "some.pth"), "does not fit several networks"),
    ):
        result = cnnviz(*start, *more)
        assert result.exit_code == 2, more
        assert words in result.stderr, result.stderr
