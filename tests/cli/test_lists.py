"""predict, models, layers, methods."""

from __future__ import annotations

import json

from cnnviz.catalogue import CATALOGUE, command_name

NETWORK = ("--model", "nets.py:tiny", "--input-size", 32)


def test_predict(cnnviz, photo):
    result = cnnviz("predict", *NETWORK, "--labels", "labels.txt", photo("a.png"), photo("b.png"), "-k", 2)
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["a.png", "b.png"]
    assert len(lines) == 6
    assert lines[1].split()[0].endswith("%")


def test_predict_as_json(cnnviz, photo):
    (entry,) = json.loads(cnnviz("predict", *NETWORK, photo(), "--json").stdout)
    assert entry["image"] == "cat.jpg"
    shares = [one["probability"] for one in entry["predictions"]]
    assert shares == sorted(shares, reverse=True)
    assert abs(sum(shares) - 1) < 1e-6
    assert {one["index"] for one in entry["predictions"]} == {0, 1, 2, 3}


def test_predict_goes_on_after_a_bad_picture(cnnviz, photo):
    result = cnnviz("predict", *NETWORK, "absent.png", photo())
    assert result.exit_code == 1
    assert result.stdout.startswith("cat.jpg\n")
    assert "Error: There is no file 'absent.png'" in result.stderr


def test_models_lists_the_bundled_ones_first(cnnviz):
    lines = cnnviz("models", "shapes").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["shapes-resnet", "bundled"], ["shapes-vgg", "bundled"], ["shapes-unet", "bundled"],
        ["shapes-detector", "bundled"],
    ]  # fmt: skip
    lines = cnnviz("models", "*s-cnn").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["signals-cnn", "bundled"], ["volumes-cnn", "bundled"]]
    found = json.loads(cnnviz("models", "resnet18", "--json").stdout)
    assert {"name", "source", "cached", "task"} == set(found[0])
    assert ("resnet18", "torchvision") in {(one["name"], one["source"]) for one in found}


def test_models_says_which_answer_for_every_pixel_or_with_boxes(cnnviz):
    tasks = {line.split()[0]: line.split()[2] for line in cnnviz("models", "*").stdout.splitlines()}
    dense = {name for name, task in tasks.items() if task == "segmentation"}
    assert dense == {
        "shapes-unet", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50", "fcn_resnet101",
        "fcn_resnet50", "lraspp_mobilenet_v3_large",
    }  # fmt: skip
    assert (tasks["resnet18"], tasks["shapes-detector"]) == ("classification", "detection")
    boxes = {name for name, task in tasks.items() if task == "detection"}
    assert {"retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "maskrcnn_resnet50_fpn"} <= boxes


def test_layers_marks_the_automatic_one(cnnviz):
    header, *rows = cnnviz("layers", *NETWORK).stdout.splitlines()
    assert header.split() == ["layer", "kind", "output", "weights", "calls", "field", "stride", "offset", "sees"]
    assert rows[0].split() == ["0", "Conv2d", "8x16x16", "224", "1", "3", "2", "0", "spatial"]
    assert [row.split()[0] for row in rows if "<- default" in row] == ["3"]
    found = json.loads(cnnviz("layers", *NETWORK, "--json").stdout)
    assert [layer["name"] for layer in found if layer["automatic"]] == ["3"]
    assert found[6]["shape"] == [4]
    assert found[0]["field"]["size"] == [3, 3]
    assert found[6]["field"] == {"kind": "whole", "because": "global pooling"}


def test_methods_have_their_papers(cnnviz):
    found = json.loads(cnnviz("methods", "--json").stdout)
    assert [one["name"] for one in found] == list(map(command_name, CATALOGUE))
    assert all(one["summary"] and one["reference"] for one in found)
    text = cnnviz("methods").stdout
    assert all(one["reference"] in text for one in found)
