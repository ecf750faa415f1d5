"""Detectors: boxes by every method, against hand-written autograd through the matched score and against brute force."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core.target import ClassTarget, DetectionTarget
from cnnviz.engine.detections import find_detections
from cnnviz.errors import ExplanationError, OutputError, ParameterError, TargetError, UnknownNameError
from tests.support.detectors import LABELS, scenes, tiny_retinanet, torchvision_detector

SIZE = 64


def model_of(net: nn.Module, size: int = SIZE, **settings) -> cnnviz.Model:
    return cnnviz.Model(net, mean=[0.0] * 3, std=[1.0] * 3, input_size=size, **{"labels": LABELS, **settings})


@pytest.fixture(scope="module")
def net():
    return tiny_retinanet(SIZE)


@pytest.fixture
def model(net):
    return model_of(net)


@pytest.fixture(scope="module")
def inputs():
    return scenes(2, SIZE)


def detect(net, inputs):
    with torch.no_grad():
        return net(inputs)


def overlap(one, other):
    """Intersection over union of two boxes, by hand."""
    sides = [max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    shared = sides[0] * sides[1]
    return shared / max(sum(areas) - shared, 1e-12)


def best_product(found, box, label):
    rows = zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
    return max((overlap(box, other) * score for other, score, name in rows if name == label), default=0.0)


def gradient_by_hand(net, one, layer, at):
    """Activation of a layer and the gradient there of the score of the detection at a place in the list."""
    held = []
    part = net.get_submodule(layer)

    def catch(_part, _given, output):
        leaf = output.detach().requires_grad_()
        held.append(leaf)
        return leaf

    hook = part.register_forward_hook(catch)
    found = net(one)[0]
    hook.remove()
    (gradient,) = torch.autograd.grad(found["scores"][at], held[0])
    return held[0].detach(), gradient


def test_there_are_detections_of_different_scores(net, inputs):
    for found in detect(net, inputs):
        scores = found["scores"]
        assert len(scores) >= 3
        assert len(scores.unique()) >= 3
        assert 0.01 < float(scores.min()) <= float(scores.max()) < 1


@pytest.mark.parametrize("at", [0, 2])
def test_the_gradient_map_is_autograds_of_the_matched_score(net, model, inputs, at):
    maps = cnnviz.gradcam(model, inputs[:1], f"#{at + 1}", relu=False)
    activation, gradient = gradient_by_hand(net, inputs[:1], maps.layer, at)
    right = (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1).numpy()
    assert np.abs(right).max() > 0
    np.testing.assert_allclose(maps.values, right, atol=1e-5 * np.abs(right).max())
    found = detect(net, inputs[:1])[0]
    assert maps[0].box == pytest.approx(found["boxes"][at].tolist(), abs=1e-4)
    assert maps[0].score == maps[0].probability == pytest.approx(float(found["scores"][at]))
    assert f"{LABELS[int(found['labels'][at])]} #" in maps[0].caption()
    assert "chosen automatically: the last with several positions that the detection reads" in " ".join(maps.checks)


@pytest.mark.parametrize(
    ("name", "size"),
    [("retinanet_resnet50_fpn", 96), ("ssdlite320_mobilenet_v3_large", 320),
     ("fasterrcnn_mobilenet_v3_large_320_fpn", 128)],
)  # fmt: skip
def test_torchvisions_detectors(name, size):
    net = torchvision_detector(name, size)
    one = scenes(1, size)
    found = detect(net, one)[0]
    assert len(found["scores"]) >= 3
    assert len(found["scores"].unique()) >= 3
    maps = cnnviz.gradcam(model_of(net, size), one, "#2", relu=False)
    activation, gradient = gradient_by_hand(net, one, maps.layer, 1)
    right = (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1).numpy()
    assert np.abs(right).max() > 0
    np.testing.assert_allclose(maps.values, right, atol=1e-5 * np.abs(right).max())
    assert maps[0].box == pytest.approx(found["boxes"][1].tolist(), abs=1e-3)


def test_saliency_is_autograds_at_the_pixels(net, model, inputs):
    found = cnnviz.saliency(model, inputs[:1])
    leaf = inputs[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf)[0]["scores"][0], leaf)
    np.testing.assert_allclose(found.values, gradient.numpy(), atol=1e-5 * float(gradient.abs().max()))


def test_occlusion_is_d_rise_by_brute_force(net, model, inputs):
    clean = detect(net, inputs[:1])[0]
    box, label = clean["boxes"][1].tolist(), int(clean["labels"][1])
    found = cnnviz.occlusion(model, inputs[:1], "#2", window=16, stride=16, baseline="black")
    right = np.zeros((SIZE, SIZE))
    for top in range(0, SIZE, 16):
        for left in range(0, SIZE, 16):
            hidden = inputs[:1].clone()
            hidden[:, :, top : top + 16, left : left + 16] = 0
            changed = best_product(detect(net, hidden)[0], box, label)
            right[top : top + 16, left : left + 16] = best_product(clean, box, label) - changed
    assert np.abs(right).max() > 0.01
    np.testing.assert_allclose(found[0].values, right, atol=1e-5)


def test_rise_is_d_rise_by_brute_force_with_the_same_masks(net, model, inputs):
    from cnnviz.methods.occlusion.random_masks import RandomMasks

    clean = detect(net, inputs[:1])[0]
    box, label = clean["boxes"][0].tolist(), int(clean["labels"][0])
    found = cnnviz.rise(model, inputs[:1], masks=24, cells=4, baseline="black", seed=3)
    masks = RandomMasks((SIZE, SIZE), 4, 0.5, 3).masks(slice(0, 24))
    scores = torch.tensor([best_product(detect(net, inputs[:1] * mask)[0], box, label) for mask in masks])
    shown = masks[:, 0].double()
    right = (shown * scores[:, None, None]).sum(dim=0) / shown.sum(dim=0) - scores.mean()
    assert float(right.abs().max()) > 0.001
    np.testing.assert_allclose(found[0].values, right.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if {"model", "images", "target"} <= set(load(name).needs)])
def test_every_method_explains_a_detection(name, net, model, inputs):
    quick = {"integrated_gradients": {"steps": 4}, "rise": {"masks": 8}, "occlusion": {"window": 32, "stride": 32},
             "smoothgrad": {"samples": 2}, "captum": {"name": "Saliency"}}  # fmt: skip
    method = load(name)
    settings = {key: value for key, value in quick.get(name, {}).items() if key in method.parameters}
    before = {key: value.clone() for key, value in net.state_dict().items()}
    if name == "cam":
        with pytest.raises(ExplanationError, match="Grad-CAM"):
            method(model, inputs[:1], "#2", **settings)
        return
    found = method(model, inputs[:1], "#2", **settings)
    clean = detect(net, inputs[:1])[0]
    assert isinstance(found[0].target, DetectionTarget)
    assert found[0].box == pytest.approx(clean["boxes"][1].tolist(), abs=1e-4)
    assert found[0].probability == pytest.approx(float(clean["scores"][1]))
    assert np.isfinite(found.values).all()
    assert found.grid().pixels().shape[2] == 3
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_the_box_that_is_explained_is_drawn(model, inputs):
    picture = np.full((SIZE, SIZE, 3), 90, np.uint8)
    found = cnnviz.saliency(model, [picture], "#1")[0]
    left, top, right, bottom = (round(edge) for edge in found.box)
    shown = found.cells()[0].pixels
    changed = np.argwhere((shown == 255).all(axis=2))
    assert len(changed)
    assert changed[:, 1].min() >= left - 1
    assert changed[:, 1].max() <= right + 1
    assert changed[:, 0].min() >= top - 1
    assert changed[:, 0].max() <= bottom + 1


def test_flipped_maps_follow_the_box(net, model, inputs):
    one = DetectionTarget(ClassTarget(1), box=(10.0, 4.0, 30.0, 20.0))
    assert one.mirrored(SIZE).box == (34.0, 4.0, 54.0, 20.0)
    found = cnnviz.gradcam(model, inputs[:1], flip=True)
    assert np.isfinite(found.values).all()


def test_predict_lists_draws_and_saves_the_boxes(net, model, inputs, tmp_path):
    clean = detect(net, inputs)
    found = cnnviz.predict(model, inputs, threshold=0.2)
    for row, some in enumerate(found):
        known = clean[row]["scores"] >= 0.2
        assert len(some) == int(known.sum())
        assert found.below[row] == int((~known).sum())
        np.testing.assert_allclose([one.score for one in some], clean[row]["scores"][known], atol=1e-6)
        np.testing.assert_allclose([one.box for one in some], clean[row]["boxes"][known], atol=1e-4)
        counted: dict[int, int] = {}
        for one in some:
            counted[one.side.index] = counted.get(one.side.index, 0) + 1
            assert str(one.target) == f"{LABELS[one.side.index]} #{counted[one.side.index]}"
    some = found[0][1]
    again = cnnviz.saliency(model, inputs[:1], str(some.target))[0]
    assert again.box == pytest.approx(some.box)
    held = json.loads(found.save(tmp_path / "boxes.json").read_text())
    assert [one["file_name"] for one in held["images"]] == ["input 1", "input 2"]
    first = held["annotations"][0]
    left, top, right, bottom = found[0][0].box
    assert first["bbox"] == pytest.approx([left, top, right - left, bottom - top])
    assert first["score"] == pytest.approx(found[0][0].score)
    assert first["image_id"] == 1
    assert {one["id"]: one["name"] for one in held["categories"]}[first["category_id"]] == str(found[0][0].side)
    arrays = np.load(found.save(tmp_path / "boxes.npz"))
    assert arrays["counts"].tolist() == [len(one) for one in found]
    assert arrays["boxes"].shape == found.boxes.shape
    assert found.save(tmp_path / "boxes.png").stat().st_size > 1000


class Shaped(nn.Module):
    """Answers as Mask and Keypoint R-CNN do: a mask and points for each box."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Conv2d(3, 1, 1)

    def forward(self, x):
        sure = self.keep(x).mean(dim=(1, 2, 3)).sigmoid()
        masks = torch.zeros(len(x), 1, 1, SIZE, SIZE)
        masks[..., 8:24, 4:36] = 0.9
        return [
            {
                "boxes": torch.tensor([[4.0, 8.0, 36.0, 24.0]]),
                "labels": torch.tensor([1]),
                "scores": one[None],
                "masks": mask,
                "keypoints": torch.tensor([[[6.0, 10.0, 1.0], [30.0, 20.0, 1.0]]]),
            }
            for one, mask in zip(sure, masks, strict=True)
        ]


def test_masks_and_points_are_on_the_picture_drawn_and_in_cocos_json(tmp_path):
    from PIL import Image

    picture = Image.new("RGB", (2 * SIZE, 2 * SIZE), (90, 90, 90))
    found = cnnviz.predict(model_of(Shaped().eval()), [picture], threshold=0.0)
    (one,) = found[0]
    assert one.box == pytest.approx((8, 16, 72, 48))
    np.testing.assert_allclose(one.points, [[12, 20], [60, 40]])
    mask = found.mask_on_original(0, 0)
    assert mask.shape == (2 * SIZE, 2 * SIZE)
    assert mask[16:48, 8:72].mean() > 0.97
    assert mask.sum() == pytest.approx(32 * 64, rel=0.05)
    (annotation,) = json.loads(found.save(tmp_path / "shaped.json").read_text())["annotations"]
    counts, size = annotation["segmentation"]["counts"], annotation["segmentation"]["size"]
    flat = np.repeat(np.arange(len(counts)) % 2, counts).reshape(size[::-1]).T
    np.testing.assert_array_equal(flat, mask)
    assert annotation["keypoints"] == [12, 20, 2, 60, 40, 2]
    assert annotation["area"] == mask.sum()
    drawn = found.grid().sheet.rows[0][0].pixels[1::3, 1::3]  # three pixels for each, so that words are legible
    assert drawn.shape == (2 * SIZE, 2 * SIZE, 3)
    assert (drawn[30, 30] != 90).any()
    assert (drawn[100, 100] == 90).all()


class Raw(nn.Module):
    """A detector that returns all its candidates: boxes about their anchors, with scores of all classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        maps = self.head(self.body(x)) * 20
        count, _classes, height, width = maps.shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        middle = torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(x) * 8 + 4
        boxes = torch.cat([middle - 9, middle + 9], dim=1).expand(count, -1, -1)
        return {"raw": (boxes, maps.flatten(2).transpose(1, 2).sigmoid())}


def read_raw(output):
    boxes, scores = output["raw"]
    return {"boxes": boxes, "scores": scores}


def test_candidates_are_suppressed_and_explained_through_their_own_score(inputs):
    net = Raw().eval()
    model = model_of(net, detections=read_raw, labels=("cat", "dog", "hat"))
    found = cnnviz.predict(model, inputs[:1], threshold=0.0)[0]
    boxes, scores = (each[0] for each in net(inputs[:1])["raw"])
    assert 1 < len(found) < scores.numel()
    for row, one in enumerate(found):
        for other in found[:row]:
            assert other.side != one.side or overlap(other.box, one.box) <= 0.5
    assert found[0].score == pytest.approx(float(scores.detach().max()))
    target = found[1]
    anchor = next(k for k in range(len(boxes)) if boxes[k].tolist() == pytest.approx(list(target.target.box), abs=1e-4))
    leaf = inputs[:1].clone().requires_grad_()
    (right,) = torch.autograd.grad(net(leaf)["raw"][1][0, anchor, target.side.index], leaf)
    maps = cnnviz.saliency(model, inputs[:1], str(target.target))
    np.testing.assert_allclose(maps.values, right.numpy(), atol=1e-5 * float(right.abs().max()))


def first_label(output, label):
    """Every box of a raw output with one label, and its first score."""
    boxes, scores = output["raw"]
    return {"boxes": boxes, "scores": scores[..., 0], "labels": torch.full_like(scores[..., 0], label).long()}


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        (lambda output: output["none"], "The detections function failed on a dict with 'raw'"),
        (lambda output: output["raw"], "expected for each image boxes"),
        (lambda output: {"boxes": output["raw"][0], "scores": output["raw"][1] * 7}, "lie in [0, 1]; these reach"),
        (lambda output: {"boxes": output["raw"][0][:, :5], "scores": output["raw"][1]}, "The detections hold"),
        (
            lambda output: {"boxes": output["raw"][0], "scores": output["raw"][1] * np.nan},
            "scores of detections are not f",
        ),
        (
            lambda output: {"boxes": output["raw"][0] / 0, "scores": output["raw"][1]},
            "are not finite: the network's we",
        ),
        (lambda output: {"boxes": output["raw"][0][..., [2, 3, 0, 1]], "scores": output["raw"][1]}, "not x, y, width"),
        (lambda output: first_label(output, -1), "Labels of detections are counted from 0; there is -1."),
    ],
)
def test_readers_that_are_wrong(reader, said, inputs):
    with pytest.raises(ExplanationError) as caught:
        cnnviz.saliency(model_of(Raw().eval(), detections=reader, labels=None), inputs[:1])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_detection_is_refused_in_one_sentence(model, inputs):
    with pytest.raises(TargetError, match=r"There is no detection 'hat #90' on .*; there are hat #1 \(97.*, hat #2 \("):
        cnnviz.gradcam(model, inputs[:1], "hat #90")
    with pytest.raises(TargetError, match=r"There is no detection '#90'.*there are "):
        cnnviz.gradcam(model, inputs[:1], "#90")
    with pytest.raises(UnknownNameError, match="dog"):
        cnnviz.gradcam(model, inputs[:1], "dgo #1")
    for target in ("cat - dog", "cat@3,3", "cat vs similar", "* #1", "cat #0"):
        with pytest.raises((TargetError, UnknownNameError)):
            cnnviz.gradcam(model, inputs[:1], target)
    with pytest.raises(ParameterError, match="answers with boxes, which are no sigmoid; leave out the head"):
        cnnviz.saliency(model_of(Raw().eval(), detections=read_raw, head="sigmoid", labels=None), inputs[:1])
    with pytest.raises(ParameterError, match="give one of them"):
        model_of(Raw(), detections=read_raw, logits="raw")
    with pytest.raises(ParameterError, match="expected a function"):
        model_of(Raw(), detections="raw")
    classifier = cnnviz.load_model("digits-lenet5")
    with pytest.raises(TargetError, match="asks about a detection; this network has one answer"):
        cnnviz.gradcam(classifier, cnnviz.draw_digit(3).pixels, "3 #1")


def test_a_picture_on_which_nothing_is_found(net, inputs):
    strict = tiny_retinanet(SIZE)
    strict.score_thresh = 0.9999
    model = model_of(strict)
    found = cnnviz.predict(model, inputs[:1])
    assert found[0] == ()
    assert "no detection" in str(found)
    assert found.boxes.shape == (0, 4)
    with pytest.raises(TargetError, match="there are none"):
        cnnviz.gradcam(model, inputs[:1])


def test_candidates_of_one_class_suppress_each_other_and_those_of_others_stay():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30]])
    scores = torch.tensor([[0.9, 0.8], [0.7, 0.1], [0.0, 0.6]])
    (found,) = find_detections({"boxes": boxes[None], "scores": scores[None]}, dict, 1)
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.6, 0.0])
    assert found.boxes.tolist() == [boxes[k].tolist() for k in (0, 0, 2, 2)]


def test_a_box_of_one_picture_is_found_anew_on_another(model, inputs):
    (first, *_), (other, *_) = cnnviz.predict(model, inputs, threshold=0)
    assert first.score != other.score
    same = cnnviz.saliency(model, inputs[:1], first.target)[0]
    assert (same.target.box, same.probability) == (first.target.box, first.score)
    anew = cnnviz.saliency(model, inputs[1:], first.target)[0]
    of_class = cnnviz.saliency(model, inputs[1:], str(first.target))[0]
    assert anew.target.box == of_class.target.box != first.target.box
    assert anew.score == anew.probability == of_class.probability
    held = DetectionTarget(first.side, 1, first.target.box)
    assert cnnviz.saliency(model, inputs[1:], held)[0].target.box == first.target.box


def test_a_box_without_area_is_refused(model, inputs):
    found = cnnviz.predict(model, inputs, threshold=0)
    flat = [(row, one) for row, some in enumerate(found) for one in some if one.box[1] == one.box[3]]
    assert flat, "no box lies at the edge"
    row, one = flat[0]
    for ask in (cnnviz.saliency, cnnviz.occlusion):
        with pytest.raises(TargetError, match=rf"No box can overlap '{one.target}', which was cut off at the edge"):
            ask(model, inputs[row : row + 1], str(one.target))


def test_half_precision_keeps_labels_and_edges():
    from cnnviz.engine.detections import Detected, encode_detections

    boxes = torch.tensor([[1001.25, 3.0, 1033.75, 50.0]])
    found = Detected(boxes, torch.tensor([0.5], dtype=torch.bfloat16), torch.tensor([301]))
    encoded = encode_detections([found])
    assert encoded[0, 0].tolist() == [1001.25, 3.0, 1033.75, 50.0, 301.0, 0.5]


def nothing(output):
    """A reader that finds no box."""
    return [{"boxes": one.new_zeros(0, 4), "scores": one.new_zeros(0, 3)} for one in output["raw"][1]]


def test_what_needs_no_detection_is_drawn_where_there_is_none(inputs):
    model = model_of(Raw().eval(), detections=nothing, labels=None)
    found = cnnviz.eigencam(model, inputs)
    assert found.layer == "head"
    assert "layer head, chosen automatically: the last spatial layer, as nothing was detected" in found.checks
    np.testing.assert_array_equal(found.values, cnnviz.eigencam(model, inputs, layer="head").values)
    assert cnnviz.dff(model, inputs, concepts=2).layer == "head"
    with pytest.raises(TargetError, match="There is no detection '#1' on"):
        cnnviz.gradcam(model, inputs)


def test_a_data_set_of_boxes_knows_how_it_was_made(tmp_path):
    scene = cnnviz.draw_scene(2, size=64).pixels
    file = cnnviz.predict(cnnviz.load_model("shapes-detector"), scene).save(tmp_path / "boxes.json")
    assert cnnviz.Provenance.from_json(cnnviz.read_note(file)).method == "predict"
    again = cnnviz.rerun(file, images=scene, out=tmp_path / "again.json")
    assert again.identical
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(OutputError, match="was not written by cnnviz"):
        cnnviz.read_note(tmp_path / "other.json")


def test_boxes_are_no_embedding(model, inputs):
    with pytest.raises(ExplanationError, match="A detector's boxes are no embedding; --embedding LAYER"):
        cnnviz.saliency(model, inputs, "similar:pair")


def test_a_picture_is_made_of_a_box_where_one_is_given_only():
    model, scene = cnnviz.load_model("shapes-detector"), cnnviz.draw_scene(2, size=64).pixels
    for target in ("ring", "ring #1"):
        with pytest.raises(TargetError, match="'ring #1' is a detector's box on a picture that there is; give that as"):
            cnnviz.maximize(model, target, steps=1)
    (made,) = cnnviz.maximize(model, "#1", start=scene, steps=1)
    assert made.target.box == pytest.approx(cnnviz.predict(model, scene)[0][0].target.box)


@pytest.mark.parametrize("target", ["#1", "similar", "custom"])
def test_ablationcam_of_half_precision(target):
    model, scene = cnnviz.load_model("shapes-detector", embedding="layer3"), cnnviz.draw_scene(2, size=64).pixels
    half = cnnviz.Model(
        copy.deepcopy(model.module).bfloat16(), detections=model.detections, preprocess=model.preprocess,
        labels=model.labels, embedding="layer3",
    )  # fmt: skip
    other = cnnviz.Similar(cnnviz.draw_scene(5, size=64).pixels)
    asked = {"#1": "#1", "similar": other, "custom": lambda rows: rows[:, 0, 5].double()}[target]
    rough, exact = (cnnviz.ablationcam(one, scene, asked, layer="layer2").values for one in (half, model))
    np.testing.assert_allclose(rough, exact, atol=0.3 * np.abs(exact).max())
