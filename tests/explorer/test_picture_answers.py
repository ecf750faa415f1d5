"""What a picture is asked: classes, the brush, maps and figures, each equal to what the Python API gives."""

from __future__ import annotations

import base64
import io
import shlex

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cnnviz
from cnnviz.explorer.questions.drawings import encode, shrink
from cnnviz.explorer.questions.picture_answers import disc_mask, spell_target
from tests.support.visitor import Visitor, picture, spell

SCENE = picture("scene-0.png")


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def softmax(network, inputs) -> np.ndarray:
    network.module.eval()
    with torch.no_grad():
        return network.module(inputs).double().softmax(dim=1)[0].numpy()


def test_the_first_answer_names_networks_pictures_and_methods(visitor):
    told = visitor.get("api/session")
    assert [one["name"] for one in told["networks"]] == ["shapes-resnet"]
    assert told["networks"][0]["input"] == [64, 64]
    assert told["networks"][0]["command"] == "--model shapes-resnet"
    assert [one["key"] for one in told["pictures"]][:2] == ["scene-0.png", "scene-1.png"]
    methods = {one["name"]: one for one in told["methods"]}
    assert methods["gradcam"]["needs_layer"]
    assert methods["gradcam"]["needs_target"]
    assert methods["saliency"]["pixelwise"]
    assert not methods["eigencam"]["needs_target"]
    assert {"filters", "patches", "maximize"}.isdisjoint(methods)
    assert (told["data"], told["index"]) == (None, None)


def test_classes_are_those_of_predict(visitor, network, scene):
    found = visitor.get(f"{SCENE}/classes", top=4)["classes"]
    wanted = cnnviz.predict(network, scene, k=4)[0]
    assert [one["label"] for one in found] == [str(one.target) for one in wanted]
    assert [one["probability"] for one in found] == [one.probability for one in wanted]
    assert [one["logit"] for one in found] == [one.logit for one in wanted]


def test_a_class_that_is_looked_for_stands_below_the_first(visitor, network, scene):
    wanted = cnnviz.predict(network, scene, k=10)[0][7]
    found = visitor.get(f"{SCENE}/classes", top=3, also=str(wanted.target))["classes"]
    assert len(found) == 4
    assert (found[3]["label"], found[3]["index"]) == (str(wanted.target), wanted.target.index)
    assert found[3]["probability"] == pytest.approx(wanted.probability, rel=1e-4)
    assert visitor.get(f"{SCENE}/classes", top=3, also="arrow")["classes"] == found[:3]
    assert visitor.refused(f"{SCENE}/classes?also=arow")[0] == 404
    assert visitor.refused(f"{SCENE}/classes?also=3-4")[0] in (404, 422)
    several = visitor.get(f"{SCENE}/classes", top=1, also="8,3,0,3")["classes"]
    assert [one["index"] for one in several] == [8, 3, 0]
    assert "no class 10" in visitor.refused(f"{SCENE}/classes?also=3,10")[1].lower()
    assert "At most 20" in visitor.refused(f"{SCENE}/classes?also={','.join(map(str, range(21)))}")[1]
    asked = {"strokes": [], "top": 1, "also": [8, 3, 0]}
    assert [one["index"] for one in visitor.post(f"{SCENE}/hide", asked)["classes"]] == [8, 3, 0]
    hidden = visitor.post(f"{SCENE}/hide", {"strokes": [], "top": 3, "also": str(wanted.target)})
    for one in hidden["classes"]:
        assert one["before"]["probability"] == pytest.approx(one["after"]["probability"], abs=1e-6)


@pytest.mark.parametrize("fill", ["mean", "blur", "black"])
def test_the_brush_moves_the_bars_as_the_network_answers_the_masked_picture(visitor, network, scene, fill):
    strokes = [{"x": 30.5, "y": 20.0, "radius": 9}, {"x": 2, "y": 60, "radius": 14.2}]
    found = visitor.post(f"{SCENE}/hide", {"strokes": strokes, "fill": fill})
    inputs, _ = network.preprocess(scene)
    rows, columns = np.mgrid[:64, :64] + 0.5
    hidden = sum((columns - one["x"]) ** 2 + (rows - one["y"]) ** 2 <= one["radius"] ** 2 for one in strokes) > 0
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (network.preprocess.mean, network.preprocess.std))
    if fill == "blur":
        import cv2

        filled = torch.from_numpy(np.stack([cv2.GaussianBlur(one, (0, 0), 16 / 3) for one in inputs.numpy()]))
    else:
        filled = torch.zeros_like(inputs) if fill == "mean" else (0 - mean) / std * torch.ones_like(inputs)
    masked = torch.where(torch.from_numpy(hidden), filled, inputs)
    wanted, before = softmax(network, masked[None]), softmax(network, inputs[None])
    assert len(found["classes"]) == 10
    for one in found["classes"]:
        assert one["after"]["probability"] == pytest.approx(wanted[one["index"]], abs=1e-5)
        assert one["before"]["probability"] == pytest.approx(before[one["index"]], abs=1e-5)
    assert found["first"] == int(wanted.argmax())
    assert found["hidden"] == pytest.approx(hidden.mean())
    shown = pixels_of(visitor.file(found["picture"]))
    assert np.array_equal(shown, network.preprocess.to_pixels(masked[None])[0])
    assert abs(wanted - before).max() > 1e-3  # the brush does something


def test_a_mask_is_a_picture_of_the_input(visitor):
    mask = disc_mask([{"x": 20, "y": 31, "radius": 12}], (64, 64))
    file = base64.b64encode(encode(mask.astype(np.uint8) * 255)).decode()
    by_mask = visitor.post(f"{SCENE}/hide", {"mask": f"data:image/png;base64,{file}"})
    by_strokes = visitor.post(f"{SCENE}/hide", {"strokes": [{"x": 20, "y": 31, "radius": 12}]})
    assert by_mask == by_strokes
    small = base64.b64encode(encode(np.zeros((3, 4), np.uint8))).decode()
    assert visitor.refused(f"{SCENE}/hide", b'{"mask": "%s"}' % small.encode()) == (
        422,
        "The mask is 3 x 4; expected the input's 64 x 64.",
    )


@pytest.mark.parametrize(
    "asked",
    [
        b"[]", b"{", b'{"strokes": 3}', b'{"strokes": [{"x": 1}]}', b'{"strokes": [{"x": 1, "y": 1, "radius": 1e999}]}',
        b'{"fill": "red"}', b'{"mask": "<script>"}', b'{"mask": "AAAA"}', b'{"strokes": ["x"]}',
    ],
)  # fmt: skip
def test_a_question_that_is_none_gets_a_sentence(visitor, asked):
    status, sentence = visitor.refused(f"{SCENE}/hide", asked)
    assert status in (400, 422)
    assert sentence.endswith(".")
    assert "internal error" not in sentence


def test_a_disc_holds_the_pixels_whose_centres_lie_in_it():
    assert disc_mask([{"x": 2, "y": 1, "radius": 0.8}], (3, 4)).tolist() == [
        [False, True, True, False],
        [False, True, True, False],
        [False, False, False, False],
    ]
    assert not disc_mask([], (3, 4)).any()
    assert disc_mask([{"x": -5, "y": 90, "radius": 3}], (3, 4)).sum() == 0


def test_a_class_click_shows_the_very_pixels_of_the_overlay(visitor, network, scene, tmp_path):
    found = visitor.get(f"{SCENE}/map", method="gradcam", target="star", layer="layer2")
    wanted = cnnviz.gradcam(network, scene, "star", layer="layer2")
    drawn = pixels_of(visitor.file(found["image"]))
    assert drawn.shape == (320, 320, 3)
    assert np.array_equal(drawn, wanted[0].overlay())
    saved = wanted.save(tmp_path / "overlay.png", style="overlay")
    assert np.array_equal(drawn, np.asarray(Image.open(saved).convert("RGB")))
    alone = wanted[0].clear(cnnviz.Look(style="map", alpha=1.0))
    assert np.array_equal(pixels_of(visitor.file(found["plain"])), alone)
    assert alone[..., 3].max() == 255
    values = np.frombuffer(visitor.file(found["values"]), "<f4").reshape(found["shape"])
    assert np.array_equal(values, wanted[0].upsampled(), equal_nan=True)
    assert (found["target"], found["layer"], found["index"]) == ("star", "layer2", 3)
    assert found["score"] == pytest.approx(wanted[0].score)
    assert found["range"] == [0, pytest.approx(float(np.nanmax(wanted[0].upsampled())))]
    assert found["box"] == [0, 0, 320, 320]
    assert (found["colours"][0], len(found["colours"])) == ("#000003", 17)  # inferno begins there


def test_a_large_picture_is_shown_smaller_and_saved_as_it_is(visitor, network):
    large = np.asarray(Image.fromarray(cnnviz.draw_scene(3, size=320).pixels).resize((1050, 840)))
    content = io.BytesIO()
    Image.fromarray(large).save(content, "PNG")
    told = visitor.ask("/api/pictures?name=large.png", content.getvalue())
    assert told[0] == 200
    found = visitor.get(f"{picture('large.png')}/map", target="1")
    assert pixels_of(visitor.file(found["image"])).shape == (840, 1050, 3)
    shown = pixels_of(visitor.file(f"{found['image']}?side=700"))
    plain = pixels_of(visitor.file(f"{found['plain']}?side=700"))
    assert (shown.shape, plain.shape) == ((560, 700, 3), (560, 700, 4))
    whole = cnnviz.gradcam(network, large, 1)[0].overlay()
    assert np.abs(shrink(whole, 700).astype(float) - shown)[5:-5, 5:-5].mean() < 2
    assert pixels_of(visitor.file("api/pictures/large.png.png?side=100")).shape == (80, 100, 3)
    geometry = visitor.get(f"{picture('large.png')}/geometry")
    assert geometry["crop"] == pytest.approx([105, 0, 945, 840])


def test_two_classes_are_asked_why_one_rather_than_the_other(visitor, network, scene):
    found = visitor.get(f"{SCENE}/map", method="saliency", target="8-1")
    wanted = cnnviz.saliency(network, scene, "8 - 1")[0]
    values = np.frombuffer(visitor.file(found["values"]), "<f4").reshape(found["shape"])
    assert np.array_equal(values, wanted.flat.upsampled())
    assert found["target"] == "arrow - triangle"
    assert spell_target("8-1") == "8 - 1"
    assert spell_target(" x-ray ") == "x-ray"
    assert spell_target("") is None


def test_the_command_and_the_python_beside_a_map_make_it_again(visitor, command, scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene.pixels).save("scene-0.png")
    settings = '{"window": 20, "stride": 10}'
    found = visitor.get(f"{SCENE}/map", method="occlusion", target="arrow", settings=settings)
    values = np.frombuffer(visitor.file(found["values"]), "<f4")
    words = shlex.split(found["command"])
    assert words[0] == "cnnviz"
    done = CliRunner().invoke(command, [*words[1:], "-o", "map.npz", "--device", "cpu"])
    assert done.exit_code == 0, done.stderr
    scope = {"cnnviz": cnnviz}
    opened, asked = found["python"].splitlines()
    exec(opened, scope)
    again = eval(asked, scope)
    assert np.array_equal(np.load("map.npz")["values"], again.values)
    assert np.array_equal(again[0].upsampled().ravel(), values)


KINDS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("format_", KINDS)
def test_a_figure_is_the_one_that_save_writes(visitor, network, scene, tmp_path, format_):
    found = visitor.get(f"{SCENE}/map", method="gradcam", target="arrow")
    status, headers, content = visitor.ask(f"/api/figures?of={found['id']}&format={format_}")
    assert (status, content.startswith(KINDS[format_])) == (200, True)
    assert headers["content-disposition"] == f'attachment; filename="gradcam.{format_}"'
    saved = cnnviz.gradcam(network, scene, "arrow")[0].save(tmp_path / f"figure.{format_}")
    if format_ == "png":
        assert np.array_equal(pixels_of(content), np.asarray(Image.open(saved)))
    assert visitor.refused("api/figures?of=nothing")[0] == 404
    assert visitor.refused(f"api/figures?of={found['id']}&format=exe")[0] == 422


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"method": "gradcat"}, 404, "Did you mean 'gradcam'"),
        ({"target": "starr"}, 404, "star"),
        ({"layer": "layer9"}, 404, "layer"),
        ({"settings": "{"}, 422, "JSON"),
        ({"settings": '{"sharpness": 3}'}, 422, "sharpness"),
        ({"method": "occlusion", "settings": '{"window": -3}'}, 422, "window"),
        ({"target": "11-12"}, 422, "class"),
    ],
)
def test_what_cannot_be_asked_is_said_with_the_nearest_choice(visitor, query, status, words):
    found = visitor.refused(f"{SCENE}/map{spell(query)}")
    assert found[0] == status
    assert words in found[1]


def test_of_independent_labels_the_first_are_listed_too_where_they_are_unlikely():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.nn.init.constant_(net[0].weight, 0.0)
    net[0].bias.data = torch.tensor([-3.0, -1.0, -2.0, -5.0, -4.0])
    model = cnnviz.Model(net, mean=[0] * 3, std=[1] * 3, input_size=8, head="sigmoid", labels=list("abcde"))
    with cnnviz.explore(model, [np.zeros((8, 8, 3), np.uint8)]) as running:
        found = Visitor(running).get(f"{picture('image')}/classes", top=3)["classes"]
    assert [one["label"] for one in found] == ["b", "c", "a"]
    assert found[0]["probability"] == pytest.approx(1 / (1 + np.e))


def test_a_detector_and_a_segmenter_have_boxes_and_areas_in_the_place_of_bars():
    for name, kind in (("shapes-detector", "boxes"), ("shapes-unet", "areas")):
        model = cnnviz.load_model(name, device="cpu")
        with cnnviz.explore(model, [cnnviz.draw_scene(2, shapes=2).pixels]) as running:
            visitor = Visitor(running)
            found = visitor.get(f"{picture('image')}/classes")
            assert (found["kind"], found["brush"]) == (kind, False)
            shown = visitor.get(f"{picture('image')}/map", target=found["classes"][0]["target"])
            assert not shown["blank"]
            assert visitor.refused(f"{picture('image')}/hide", b"{}")[0] == 422
