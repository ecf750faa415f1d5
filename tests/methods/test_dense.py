"""Networks with an answer for every pixel: classes over regions by every method, against hand-written autograd."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import get_model

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core.picture import Geometry
from cnnviz.core.region import Mask, split_region
from cnnviz.errors import ExplanationError, TargetError, UnknownNameError

LABELS = ("background", "cat", "dog", "bird")
DOUBLE = torch.float64


class Segmenter(nn.Module):
    """A small U-Net that hands on an auxiliary output too."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(12, 8, 4, 4)
        self.out = nn.Conv2d(16, classes, 1)

    def finish(self, wide, deep):
        return self.out(torch.cat([wide, self.up(deep)], dim=1))

    def forward(self, x):
        wide = self.down(x)
        deep = self.deep(wide)
        return {"out": self.finish(wide, deep), "aux": deep}


def model_of(net: nn.Module, size: int = 32, **settings) -> cnnviz.Model:
    settings = {"labels": LABELS, **settings}
    return cnnviz.Model(net.eval(), mean=[0.5] * 3, std=[0.5] * 3, input_size=size, **settings)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Segmenter().double()
    with torch.no_grad():
        made.out.weight *= 4
    return made.eval()


@pytest.fixture
def model(net):
    return model_of(net)


@pytest.fixture
def inputs():
    return torch.rand(2, 3, 32, 32, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


def won(net, inputs, index):
    return (net(inputs)["out"].argmax(dim=1) == index).double().detach()


def most_won(net, inputs):
    """A class that wins pixels of all inputs."""
    counts = torch.stack([won(net, inputs, index).sum(dim=(1, 2)) for index in range(1, 4)]).amin(dim=1)
    assert counts.max() > 0
    return int(counts.argmax()) + 1


def gradcam_of(net, inputs, score):
    wide = net.down(inputs)
    deep = net.deep(wide).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(net.finish(wide, deep)), deep)
    return (gradient.mean(dim=(2, 3), keepdim=True) * deep).sum(dim=1).detach().numpy()


def test_a_class_is_its_logit_summed_where_it_wins(net, model, inputs):
    index = most_won(net, inputs)
    where = won(net, inputs, index)
    found = cnnviz.gradcam(model, inputs, LABELS[index], relu=False)
    assert found.layer == "deep"
    right = gradcam_of(net, inputs, lambda dense: (dense[:, index] * where).sum())
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())
    dense = net(inputs)["out"]
    scores = (dense[:, index] * where).sum(dim=(1, 2)).tolist()
    assert [one.score for one in found] == pytest.approx(scores)
    shares = (dense.softmax(dim=1)[:, index] * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2))
    assert [one.probability for one in found] == pytest.approx(shares.tolist())
    assert found[0].describe()["index"] == index
    said = " ".join(found.checks)
    assert (
        f"{LABELS[index]}: the sum of logits over the pixels where it wins, which are held fixed; probabilities: their "
        "mean there" in said
    )
    assert "layer deep, chosen automatically: the last at the lowest resolution, 8x8" in said


def test_a_class_less_another_is_summed_where_the_first_wins(net, model, inputs):
    index = most_won(net, inputs)
    where = won(net, inputs, index)
    found = cnnviz.gradcam(model, inputs, f"{LABELS[index]} - background", relu=False)
    right = gradcam_of(net, inputs, lambda dense: ((dense[:, index] - dense[:, 0]) * where).sum())
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())


def test_the_top_class_wins_most_but_for_the_background(net, model, inputs):
    areas = torch.stack([won(net, inputs[:1], index).sum() for index in range(4)])
    best = int(areas[1:].argmax()) + 1
    assert cnnviz.saliency(model, inputs[:1])[0].target.classes[0].index == best
    with torch.no_grad():
        net.out.bias += torch.tensor([100.0, 0, 0, 0])
    assert cnnviz.saliency(model, inputs[:1])[0].target.classes[0].index == 0


@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_occlusion_is_what_hiding_by_hand_gives(net, model, inputs, kind):
    index = most_won(net, inputs)
    where = won(net, inputs[:1], index)
    found = cnnviz.occlusion(model, inputs[:1], index, window=8, stride=8, baseline="black", score=kind)

    def score(x):
        dense = net(x)["out"].detach()
        if kind == "logit":
            return float((dense[:, index] * where).sum())
        return float((dense.softmax(dim=1)[:, index] * where).sum() / where.sum())

    right = np.zeros((32, 32))
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            hidden = inputs[:1].clone()
            hidden[:, :, top : top + 8, left : left + 8] = -1
            right[top : top + 8, left : left + 8] = score(inputs[:1]) - score(hidden)
    np.testing.assert_allclose(found[0].values, right, atol=1e-5 * np.abs(right).max())


class Itself(nn.Module):
    """Answers at every pixel with its own colour: what reaches a pixel's answer is that pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Conv2d(3, 3, 1, bias=False)
        self.keep.weight.data = torch.eye(3).reshape(3, 3, 1, 1)

    def forward(self, x):
        return self.keep(x)


def photograph(height, width):
    return np.random.default_rng(0).integers(1, 255, (height, width, 3), dtype=np.uint8)


def test_a_pixel_of_the_picture_is_that_pixel_of_the_answer():
    model = model_of(Itself(), 16, labels=("red", "green", "blue"))
    found = cnnviz.saliency(model, photograph(32, 64), "green@40,5")[0]  # shown at half its size, 8 columns cut off
    lit = np.argwhere(np.abs(found.values).sum(axis=0) > 0)
    assert lit.tolist() == [[2, 12]]
    assert str(found.target) == "green@40,5"


def test_a_box_and_a_mask_of_the_same_pixels_are_the_same(tmp_path):
    model = model_of(Itself(), 16, labels=("red", "green", "blue"))
    mask = np.zeros((32, 64), dtype=np.uint8)
    mask[4:12, 20:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    boxed, masked = (
        cnnviz.saliency(model, photograph(32, 64), target)[0]
        for target in ("blue in 20,4,30,12", f"blue in {tmp_path / 'mask.png'}")
    )
    lit = np.abs(boxed.values).sum(axis=0) > 0
    expected = np.zeros((16, 16), dtype=bool)
    expected[2:6, 2:7] = True
    np.testing.assert_array_equal(lit, expected)
    np.testing.assert_array_equal(boxed.values, masked.values)


def test_the_top_class_of_a_region_is_the_one_that_wins_most_of_it():
    model = model_of(Itself(), 16, labels=("red", "green", "blue"))
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[..., 0], pixels[:4, :4] = 200, (0, 0, 200)
    assert str(cnnviz.saliency(model, pixels)[0].target) == "red"
    assert str(cnnviz.saliency(model, pixels, "top in 0,0,5,4")[0].target) == "blue in 0,0,5,4"


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("green@70,5", TargetError, "the picture is 64x32 pixels, of which it sees 16, 0, 48, 32"),
        ("green@2,5", TargetError, "holds nothing that the network sees"),
        ("green in 9,9,9,12", TargetError, "has no area"),
        ("gren@20,5", UnknownNameError, "green"),
        ("red vs similar", TargetError, "does not apply to segmentation"),
        ("7@20,5", TargetError, "no class 7"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(target, error, words):
    model = model_of(Itself(), 16, labels=("red", "green", "blue"))
    with pytest.raises(error, match=words):
        cnnviz.saliency(model, photograph(32, 64), target)


def test_a_mask_of_another_size_is_refused(tmp_path):
    Image.fromarray(np.full((10, 12), 255, dtype=np.uint8)).save(tmp_path / "mask.png")
    model = model_of(Itself(), 16, labels=("red", "green", "blue"))
    with pytest.raises(TargetError, match="is 12x10 pixels; the picture is 64x32"):
        cnnviz.saliency(model, photograph(32, 64), f"red in {tmp_path / 'mask.png'}")


def test_a_class_that_wins_nowhere_is_refused_with_those_that_do(net, model, inputs):
    with torch.no_grad():
        net.out.bias += torch.tensor([0.0, 100, 0, 0])
    with pytest.raises(TargetError, match=r"'dog' wins no pixel of this picture; these do: cat \(100.0%\)"):
        cnnviz.gradcam(model, inputs[:1], "dog")
    assert cnnviz.gradcam(model, inputs[:1], "dog@3,3", relu=False).values.any()


def test_regions_are_of_dense_answers_and_of_pictures_that_there_are(model):
    whole = cnnviz.load_model("shapes-resnet")
    with pytest.raises(TargetError, match="one answer for the whole picture"):
        cnnviz.gradcam(whole, cnnviz.draw_scene(1).pixels, "0@3,3")
    with pytest.raises(TargetError, match="a picture that is made has none"):
        cnnviz.maximize(model, "cat@3,3", steps=1)


def test_labels_that_look_like_regions_come_first():
    model = model_of(Itself(), 16, labels=("a in b.c", "x@1,2", "blue"))
    found = cnnviz.saliency(model, np.full((16, 16, 3), (9, 200, 0), dtype=np.uint8), "x@1,2")[0]
    assert found.target.classes[0].index == 1
    assert found.target.region is None
    assert split_region("x@1,2")[1].box == (1, 2, 2, 3)


def test_independent_labels_win_where_they_are_likelier_than_not(net, inputs):
    dense = net(inputs)["out"].detach()
    index = int((dense > 0).sum(dim=(0, 2, 3)).argmax())
    found = cnnviz.saliency(model_of(net, head="sigmoid"), inputs, index)
    where = dense[:, index] >= 0
    assert [one.score for one in found] == pytest.approx((dense[:, index] * where).sum(dim=(1, 2)).tolist())
    shares = (dense[:, index].sigmoid() * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2))
    assert [one.probability for one in found] == pytest.approx(shares.tolist())


def test_one_logit_a_pixel_with_two_labels_has_two_classes(inputs):
    torch.manual_seed(3)
    net = Segmenter(1).double().eval()
    one = net(inputs[:1])["out"].detach()[0, 0]
    with torch.no_grad():
        net.out.bias -= one.median()
    one = net(inputs[:1])["out"].detach()[0, 0]
    model = model_of(net, labels=("healthy", "ill"))
    ill, healthy = (cnnviz.saliency(model, inputs[:1], name)[0] for name in ("ill", "healthy"))
    assert ill.probability == pytest.approx(float(one.sigmoid()[one > 0].mean()))
    assert healthy.probability == pytest.approx(float((-one).sigmoid()[one <= 0].mean()))
    areas = cnnviz.predict(model, inputs[:1])[0]
    assert {str(area.target): area.pixels for area in areas} == {
        "ill": int((one > 0).sum()), "healthy": int((one <= 0).sum())
    }  # fmt: skip


def test_values_for_every_pixel_are_summed_over_all_of_them(inputs):
    torch.manual_seed(3)
    net = Segmenter(1).double().eval()
    model = model_of(net, labels=None)
    found = cnnviz.saliency(model, inputs[:1], 0)[0]
    assert found.score == pytest.approx(float(net(inputs[:1])["out"].detach().sum()))
    assert found.probability is None
    (largest,) = cnnviz.predict(model, inputs[:1])[0]
    assert largest.logit == pytest.approx(float(net(inputs[:1])["out"].detach().max()))


def test_predict_tells_the_areas_and_draws_them(net, model, inputs, tmp_path):
    found = cnnviz.predict(model, inputs)
    dense = net(inputs)["out"].detach()
    best = dense.argmax(dim=1)
    for row, areas in enumerate(found):
        assert [area.pixels for area in areas] == sorted((area.pixels for area in areas), reverse=True)
        for area in areas:
            index = area.target.index
            assert area.share == pytest.approx(float((best[row] == index).double().mean()))
            own = dense.softmax(dim=1)[row, index][best[row] == index]
            assert area.probability == pytest.approx(float(own.mean()))
    np.testing.assert_array_equal(found.won.argmax(axis=1), best.numpy())
    assert found.save(tmp_path / "areas.png").stat().st_size > 1000
    with np.load(found.save(tmp_path / "areas.npz")) as held:
        np.testing.assert_array_equal(held["won"], found.won)
    assert found.provenance.method == "predict"


def test_a_mirrored_picture_has_a_mirrored_region():
    torch.manual_seed(0)
    net = Segmenter().double().eval()
    for part in net.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.weight.data = (part.weight.data + part.weight.data.flip(-1)) / 2
    inputs = torch.rand(1, 3, 32, 32, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    model = model_of(net)
    once, twice = (cnnviz.gradcam(model, inputs, "cat in 2,3,9,20", relu=False, flip=flip) for flip in (False, True))
    np.testing.assert_allclose(once.values, twice.values, atol=1e-12)


EVERY = [name for name in CATALOGUE if name not in ("cam", "patches")]


@pytest.mark.parametrize("name", EVERY)
def test_every_method_answers_or_says_why_not(net, model, inputs, name, tmp_path):
    method, before = load(name), copy.deepcopy(net.state_dict())
    index = most_won(net, inputs[:1])
    tiny = {"steps": 2, "samples": 2, "budget": 60}
    settings = {key: value for key, value in tiny.items() if key in method.parameters}
    if "target" in (*method.needs, *method.parameters):
        settings["target"] = LABELS[index]
    found = method(model, inputs[:1], **settings) if "images" in method.needs else method(model, **settings)
    assert np.isfinite(np.asarray(found, dtype=float)).all()
    assert found.save(tmp_path / "made.png").is_file()
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_cam_says_that_it_is_of_other_networks(model, inputs):
    with pytest.raises(ExplanationError, match="Grad-CAM"):
        cnnviz.cam(model, inputs)


def test_a_report_shows_the_areas_and_explains_what_wins(net, model, inputs, tmp_path):
    found = cnnviz.report(model, inputs[:1], budget=0, methods="gradcam,saliency")
    assert {"predictions", "maps"} <= set(found.figures)
    best = cnnviz.gradcam(model, inputs[:1])
    np.testing.assert_array_equal(found.figures["maps"].maps["gradcam"].values, best.values)
    assert "4 classes for every pixel" in found.save(tmp_path / "r.html").read_text()


def test_a_report_asks_once_what_the_network_answers(model, inputs, monkeypatch):
    from cnnviz.methods import ask

    asked, plain = [], ask.ask

    def counted(*given, **more):
        asked.append(given)
        return plain(*given, **more)

    monkeypatch.setattr(ask, "ask", counted)
    found = cnnviz.report(model, inputs[:1], sections="predictions")
    assert len(asked) == 1
    assert found.provenance.targets == (str(cnnviz.saliency(model, inputs[:1])[0].target),)


def test_methods_are_compared_on_a_region(model, inputs):
    found = cnnviz.compare(model, inputs[:1], "gradcam,saliency", "cat@3,3")
    assert {str(one.target) for maps in found.maps.values() for one in maps} == {"cat@3,3"}


def test_an_auxiliary_head_is_not_the_bottleneck():
    torch.manual_seed(0)
    net = get_model("fcn_resnet50", weights=None, weights_backbone=None, num_classes=4, aux_loss=True).double()
    inputs = torch.rand(1, 3, 48, 48, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    assert cnnviz.gradcam(model_of(net, 48), inputs, relu=False).layer == "classifier.3"


def test_a_picture_on_which_no_label_is_likely_is_explained_by_the_likeliest(net, inputs):
    with torch.no_grad():
        net.out.bias -= 100
    model = model_of(net, head="sigmoid")
    dense = net(inputs[:1])["out"].detach()
    found = cnnviz.saliency(model, inputs[:1])[0]
    best = int(dense.mean(dim=(0, 2, 3)).argmax())
    assert found.target.classes[0].index == best
    assert found.score == pytest.approx(float(dense[0, best].sum()))
    assert "no class is likelier than not" in str(cnnviz.predict(model, inputs[:1]))
    assert cnnviz.eigencam(model, inputs[:1]).values.any()


def test_sums_of_half_precision_do_not_overflow(net, inputs):
    with torch.no_grad():
        net.out.bias += torch.tensor([0.0, 200, 0, 0])
    half = model_of(copy.deepcopy(net).half())
    found = cnnviz.saliency(half, inputs[:1].float())[0]
    assert found.score == pytest.approx(cnnviz.saliency(model_of(net), inputs[:1])[0].score, rel=1e-2)
    assert found.score > 2e5


def test_small_and_thin_masks_keep_a_place():
    held = np.zeros((64, 64), dtype=bool)
    held[:2, :2] = held[62:, 62:] = True
    assert np.argwhere(Mask.of(held).on_grid((8, 8)).array()).tolist() == [[0, 0], [7, 7]]
    thin = np.zeros((640, 640), dtype=bool)
    thin[321:324, 100:500] = True
    seen = split_region("a in thin.png")[1].on_input(Geometry((640, 640), (64, 64), (0, 0, 64, 64)), lambda _: thin)
    assert np.argwhere(seen.array())[:, 0].tolist() == [32] * 40
    padded = Geometry((16, 48), (16, 48), (-8, 8, 32, 32))
    with pytest.raises(TargetError, match="holds nothing that the network sees"):
        split_region("a@24,16")[1].on_input(padded, None)
    assert split_region("a in 0,0,48,99")[1].on_input(padded, None).array().sum() == 16 * 32


def test_areas_are_written_a_file_a_picture(model, inputs, tmp_path):
    found = cnnviz.predict(model, inputs)
    paths = found.save_each([tmp_path / "a.png", tmp_path / "b.png"])
    assert [path.name for path in paths] == ["a.png", "b.png"]
    assert paths[0].read_bytes() != paths[1].read_bytes()


TORCHVISION = {
    "fcn_resnet50": "classifier.3",
    "deeplabv3_mobilenet_v3_large": "classifier.3",
    "lraspp_mobilenet_v3_large": "classifier.cbr",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_equal_hand_written_autograd(name):
    torch.manual_seed(0)
    net = get_model(name, weights=None, weights_backbone=None, num_classes=4).double().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.8, 1.2)
            part.bias.data.normal_(0, 0.3)
    inputs = torch.rand(1, 3, 64, 64, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    found = cnnviz.gradcam(model_of(net, 64), inputs, relu=False)
    held = {}

    def keep(_part, _inputs, output):
        held["at"] = output.detach().requires_grad_()
        return held["at"]

    handle = net.get_submodule(found.layer.partition("+")[0]).register_forward_hook(keep)
    dense = net(inputs)["out"]
    handle.remove()
    index = found[0].target.classes[0].index
    where = (dense.argmax(dim=1) == index).detach()
    (gradient,) = torch.autograd.grad((dense[:, index] * where).sum(), held["at"])
    right = (gradient.mean(dim=(2, 3), keepdim=True) * held["at"]).sum(dim=1).detach().numpy()
    assert found.layer == TORCHVISION[name]
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())
    assert "chosen automatically" in " ".join(found.checks)


def test_dense_logits_are_kept_of_the_first_picture_alone(model, inputs, monkeypatch):
    from cnnviz.methods import ask

    kept = []
    plain = ask.in_chunks

    def watched(*given, **more):
        found = plain(*given, **more)
        kept.extend(found.results)
        return found

    monkeypatch.setattr(ask, "in_chunks", watched)
    cnnviz.saliency(model, inputs.repeat(3, 1, 1, 1))
    assert [len(one.logits) for one in kept] == [1] * len(kept)
    assert sum(len(one.shares) for one in kept) == 6


def test_masks_keep_their_places_on_other_grids():
    held = np.zeros((8, 8), dtype=bool)
    held[2:6, 4:] = True
    mask = Mask.of(held)
    np.testing.assert_array_equal(mask.array(), held)
    np.testing.assert_array_equal(mask.on_grid((4, 4)).array()[1:3, 2:], np.ones((2, 2), dtype=bool))
    assert mask.on_grid((4, 4)).array().sum() == 4
    point = np.zeros((64, 64), dtype=bool)
    point[63, 0] = True
    assert Mask.of(point).on_grid((4, 4)).array()[3, 0]
    assert Mask.of(held) == Mask.of(held.copy())
    assert hash(mask.mirrored()) == hash(Mask.of(held[:, ::-1]))


def test_a_box_is_read_through_the_geometry():
    region = split_region("cat in 0,0,32,32")[1]
    seen = region.on_input(Geometry((32, 64), (16, 32), (0, 8, 16, 16)), None)
    assert seen.array().sum() == 16 * 8
    assert seen.array()[:, :8].all()


def mass_inside(maps, mask):
    positive = np.nan_to_num(maps.on_original()).clip(0)
    return positive[mask].sum() / positive.sum() if positive.any() else 0.0


def test_the_map_of_a_shape_lies_on_it_more_than_the_map_of_the_other_does():
    model = cnnviz.load_model("shapes-unet")
    gains = []
    for index in range(100):
        scene = cnnviz.draw_scene(index, seed=20001, shapes=2)
        try:
            maps = [cnnviz.gradcam(model, scene.pixels, shape.label)[0] for shape in scene.shapes]
        except TargetError:  # a shape that wins no pixel has no map
            continue
        for own, other, shape in zip(maps, maps[::-1], scene.shapes, strict=True):
            gains.append(mass_inside(own, shape.mask) - mass_inside(other, shape.mask))
    assert len(gains) > 150
    error = np.std(gains, ddof=1) / len(gains) ** 0.5
    assert np.mean(gains) - 4 * error > 0


def test_of_probabilities_that_do_not_add_up_a_label_wins_from_one_half_on():
    model = cnnviz.Model(
        Itself(), mean=[0.0] * 3, std=[1.0] * 3, input_size=4, head="probabilities", labels=("red", "green", "blue")
    )
    inputs = torch.zeros(1, 3, 4, 4)
    inputs[0, 0, 0] = torch.tensor([0.6, 0.5, 0.45, 0.3])
    inputs[0, 1, :2] = 0.9
    (areas,) = cnnviz.predict(model, inputs)
    assert {str(one.target): one.pixels for one in areas} == {"green": 8, "red": 2}
    assert cnnviz.saliency(model, inputs, "red")[0].values[0].astype(bool).sum() == 2


def test_what_lies_outside_a_picture_with_a_frame_is_told_in_its_own_pixels():
    model = cnnviz.Model(Itself(), mean=[0.0] * 3, std=[1.0] * 3, input_size=16, resize="whole")
    tall = np.zeros((33, 11, 3), dtype=np.uint8)
    with pytest.raises(TargetError, match=r"the picture is 11x33 pixels, of which it sees 0, 0, 11, 33 \(left"):
        cnnviz.saliency(model, tall, "0@11,5")
