"""Likeness of embeddings: the cosine to another picture, by every method, against autograd and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cosine_similarity

import cnnviz
from cnnviz.catalogue import CATALOGUE, load
from cnnviz.core.parse_target import parse_target
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import ClassTarget, Unit
from cnnviz.errors import ExplanationError, PictureError, TargetError, UnknownNameError, UsageError
from tests.support.asking import FEWER, state_of

DOUBLE = torch.float64
TARGETED = [name for name in CATALOGUE if "target" in load(name).needs and "images" in load(name).needs]
LAYERED = ("deep", "pool", None)


class Embedder(nn.Module):
    """A small network without classes; what it returns is a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.deep = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        return self.out(self.pool(self.deep(self.wide(x))))


def model_of(net, **settings):
    return cnnviz.Model(net.eval(), **{"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 16, **settings})


@pytest.fixture
def net():
    torch.manual_seed(2)
    net = Embedder().double().eval()
    with torch.no_grad():
        net.deep[0].bias += 0.3
        net.out.weight *= 5
    return net


@pytest.fixture
def inputs():
    return torch.rand(4, 3, 16, 16, dtype=DOUBLE, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.fixture
def photos(tmp_path):
    """Three files, a folder below."""
    (tmp_path / "some").mkdir()
    for number, name in enumerate(["a.png", "b.png", "pair"]):
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        made = Image.fromarray(noise).resize((20, 20), Image.Resampling.BICUBIC)
        made.save(tmp_path / "some" / name, format="png")
    return [tmp_path / "some" / name for name in ("a.png", "b.png", "pair")]


class Flat(nn.Module):
    """The picture's own numbers as its embedding."""

    def forward(self, x):
        return x.flatten(1)


def test_the_gradient_of_a_cosine_by_hand():
    model = cnnviz.Model(Flat(), mean=[0.0], std=[1.0], input_size=(1, 2), channels=1)
    seen = torch.tensor([[[[3.0, 4.0]]]], dtype=DOUBLE)
    right, up = torch.tensor([[[2.0, 0.0]]], dtype=DOUBLE), torch.tensor([[[0.0, 7.0]]], dtype=DOUBLE)
    found = cnnviz.saliency(model, seen, Similar(right), channels="signed")[0]
    assert found.score == pytest.approx(0.6)
    assert found.probability is None
    # (r - cos * e) / |x| with r = (1, 0), e = x / |x| = (.6, .8), cos = .6 and |x| = 5
    np.testing.assert_allclose(found.values.ravel(), [0.128, -0.096], rtol=1e-6)
    contrast = cnnviz.saliency(model, seen, Similar(right, up), channels="signed")[0]
    assert contrast.score == pytest.approx(0.6 - 0.8)
    np.testing.assert_allclose(contrast.values.ravel(), [0.128 + 0.096, -0.096 - 0.072], rtol=1e-6)


def written(net, seen, other, layer):
    """The cosine of embeddings, as it is written by hand."""

    def embed(x):
        deep = net.deep(net.wide(x))
        return {"deep": deep.mean(dim=(2, 3)), "pool": net.pool(deep), None: net.out(net.pool(deep))}[layer]

    return cosine_similarity(embed(seen), embed(other).detach())


@pytest.mark.parametrize("layer", LAYERED)
def test_saliency_is_autograd_of_the_cosine(net, inputs, layer):
    found = cnnviz.saliency(model_of(net, embedding=layer), inputs[:2], Similar(inputs[2]), channels="signed")
    leaf = inputs[:2].clone().requires_grad_()
    cosine = written(net, leaf, inputs[2:3], layer)
    (gradient,) = torch.autograd.grad(cosine.sum(), leaf)
    np.testing.assert_allclose(found.values, gradient.numpy(), atol=1e-5 * float(gradient.abs().max()))
    np.testing.assert_allclose(found.scores, cosine.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("layer", LAYERED)
@pytest.mark.parametrize("name", ["wide", "deep", None])
def test_gradcam_is_autograd_of_the_cosine(net, inputs, layer, name):
    target = Similar(inputs[2], inputs[3])
    found = cnnviz.gradcam(model_of(net, embedding=layer), inputs[:2], target, layer=name, relu=False)
    assert found.layer == (name or "deep")
    wide = net.wide(inputs[:2]).detach()
    part = (wide if name == "wide" else net.deep(wide)).detach().requires_grad_()

    def embed(x):
        deep = net.deep(x) if name == "wide" else x
        return {"deep": deep.mean(dim=(2, 3)), "pool": net.pool(deep), None: net.out(net.pool(deep))}[layer]

    other = [embed(net.wide(each) if name == "wide" else net.deep(net.wide(each))) for each in inputs[2:, None]]
    cosine = cosine_similarity(embed(part), other[0].detach()) - cosine_similarity(embed(part), other[1].detach())
    (gradient,) = torch.autograd.grad(cosine.sum(), part)
    right = (gradient.mean(dim=(2, 3), keepdim=True) * part).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())
    np.testing.assert_allclose(found.scores, cosine.detach().numpy(), atol=1e-6)
    assert found[0].caption().startswith("a tensor rather than a tensor, difference of cosines ")


def test_the_automatic_layer_of_an_averaged_layer_is_that_layer(net, inputs):
    deep, pooled = (
        cnnviz.gradcam(model_of(net, embedding=each), inputs[:1], Similar(inputs[1])) for each in LAYERED[:2]
    )
    assert deep.layer == pooled.layer == "deep"
    np.testing.assert_array_equal(deep.values, pooled.values)
    early = cnnviz.gradcam(model_of(net, embedding="wide"), inputs[:1], Similar(inputs[1]))
    assert early.layer == "wide"


@pytest.mark.parametrize("layer", LAYERED)
def test_integrated_gradients_are_the_integral_of_autograd(net, inputs, layer):
    found = cnnviz.integrated_gradients(
        model_of(net, embedding=layer), inputs[:1], Similar(inputs[1]), baseline="black", steps=40, most_steps=40
    )[0]
    dark, right = torch.full_like(inputs[:1], -1), torch.zeros_like(inputs[:1])
    for place, weight in zip(*np.polynomial.legendre.leggauss(40), strict=True):
        leaf = (dark + (1 + place) / 2 * (inputs[:1] - dark)).requires_grad_()
        right += weight / 2 * torch.autograd.grad(written(net, leaf, inputs[1:2], layer).sum(), leaf)[0]
    right *= inputs[:1] - dark
    np.testing.assert_allclose(found.values, right[0].numpy(), atol=1e-5 * float(right.abs().max()))
    change = written(net, inputs[:1], inputs[1:2], layer) - written(net, dark, inputs[1:2], layer)
    assert found.values.sum() == pytest.approx(float(change.detach()), abs=0.02 * abs(float(change.detach())))


@pytest.mark.parametrize("layer", LAYERED)
def test_occlusion_is_what_hiding_by_hand_gives(net, inputs, layer):
    model = model_of(net, embedding=layer)
    found = cnnviz.occlusion(model, inputs[:1], Similar(inputs[1]), window=4, stride=4, baseline="black")[0]
    right = np.zeros((16, 16))
    for top in range(0, 16, 4):
        for left in range(0, 16, 4):
            hidden = inputs[:1].clone()
            hidden[:, :, top : top + 4, left : left + 4] = -1
            change = written(net, inputs[:1], inputs[1:2], layer) - written(net, hidden, inputs[1:2], layer)
            right[top : top + 4, left : left + 4] = float(change.detach())
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())
    assert found.probability is None


def test_ablation_takes_channels_away_from_the_cosine(net, inputs):
    found = cnnviz.ablationcam(model_of(net), inputs[:1], Similar(inputs[1]), layer="deep", relu=False)[0]
    deep = net.deep(net.wide(inputs[:1])).detach()
    other = net(inputs[1:2]).detach()

    def cosine(maps):
        return float(cosine_similarity(net.out(net.pool(maps)), other).detach())

    right = np.zeros(deep.shape[2:])
    for channel in range(8):
        without = deep.clone()
        without[:, channel] = 0
        right += (cosine(deep) - cosine(without)) / abs(cosine(deep)) * deep[0, channel].numpy()
    np.testing.assert_allclose(found.values, right, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("layer", LAYERED)
@pytest.mark.parametrize("name", TARGETED)
def test_every_method_explains_it_or_says_why_not(net, inputs, name, layer):
    model, before = model_of(net, embedding=layer), state_of(net)
    fewer = {key: value for key, value in FEWER.items() if key in load(name).parameters}
    target = Similar(inputs[2])
    if name == "cam" or (name == "captum" and layer):
        words = "CAM explains classes" if name == "cam" else "nor a layer's embedding"
        with pytest.raises(ExplanationError, match=words):
            load(name)(model, inputs[:2], target, **fewer)
    elif name == "report":
        found = load(name)(model, inputs[:2], target, sections="maps", methods="gradcam")
        assert "similar to a tensor" in found.html()
    else:
        found = load(name)(model, inputs[:2], target, **fewer)
        assert np.isfinite(np.asarray(found)).all()
        assert np.asarray(found).any()
        right = written(net, inputs[:2], inputs[2:3], layer).detach().numpy()
        np.testing.assert_allclose(found.scores, right, rtol=1e-5)
        said = " ".join(found.checks)
        assert "the embedding is" in said
        assert "softmax" not in said
        assert "more than rounding" not in said or name == "captum"
    assert state_of(net) == before


def test_the_other_pictures_are_asked_about_once(net, inputs):
    asked = []
    handle = net.wide.register_forward_hook(lambda part, given, output: asked.append(len(given[0])))
    cnnviz.saliency(model_of(net, fixed_batch=None), inputs[:3], [Similar(inputs[3])] * 3)
    handle.remove()
    once = asked.copy()
    asked.clear()
    handle = net.wide.register_forward_hook(lambda part, given, output: asked.append(len(given[0])))
    cnnviz.saliency(model_of(net), inputs[:3], 0)
    handle.remove()
    assert sorted(once) == sorted([*asked, 1])


def test_a_pair_is_explained_each_towards_the_other(net, photos):
    model = model_of(net)
    pair = cnnviz.gradcam(model, photos[:2], "similar:pair")
    one, other = (cnnviz.gradcam(model, photos[row], f"similar:{photos[1 - row]}") for row in range(2))
    assert pair[0].score == pytest.approx(pair[1].score, rel=1e-6)
    for row, alone in enumerate((one, other)):
        np.testing.assert_allclose(pair[row].values, alone[0].values, atol=1e-6 * np.abs(alone.values).max())
        assert str(pair[row].target) == str(alone[0].target) == f"similar to {photos[1 - row].name}"
    assert pair[0].caption().splitlines()[0] == f"similar to b.png, cosine {pair[0].score:.3g}"
    assert len(pair.grid().sheet.rows) == 2
    tensors = cnnviz.gradcam(model, torch.rand(2, 3, 16, 16, dtype=DOUBLE), "similar:pair")
    assert tensors[0].score == pytest.approx(tensors[1].score, rel=1e-6)


def test_what_the_embedding_is_is_said(net, photos):
    likeness = f"similar:{photos[1]}"
    said = {layer: cnnviz.saliency(model_of(net, embedding=layer), photos[0], likeness).checks for layer in LAYERED}
    assert "the embedding is the mean over places of deep, 8 numbers" in said["deep"]
    assert "the embedding is the output of pool, 8 numbers" in said["pool"]
    assert "the embedding is the network's output, 5 numbers; --embedding LAYER takes a layer's" in said[None]
    ended = model_of(nn.Sequential(net, nn.Softmax(dim=1)))
    assert "the network's output before its softmax, 5" in " ".join(cnnviz.saliency(ended, photos[0], likeness).checks)


def test_maps_and_tokens_are_averaged_without_the_tokens_that_have_no_place():
    from tests.support.networks import TRANSFORMERS

    made = next(iter(TRANSFORMERS.values()))
    net = (made() if callable(made) else made).eval()
    model = cnnviz.Model(net, mean=[0.5] * 3, std=[0.5] * 3, input_size=32)
    tokens = next(
        each for each in model.layers.values() if each.arrangement and each.arrangement.order == "NTC" and each.spatial
    )
    inputs = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    held = []
    handle = dict(net.named_modules())[tokens.name].register_forward_hook(
        lambda part, given, output: held.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad():
        net(inputs)
    handle.remove()
    means = held[-1][:, tokens.arrangement.prefix :].mean(dim=1)
    found = cnnviz.saliency(
        cnnviz.Model(net, mean=[0.5] * 3, std=[0.5] * 3, input_size=32, embedding=tokens.name), inputs[:1],
        Similar(inputs[1]),
    )  # fmt: skip
    assert found[0].score == pytest.approx(float(cosine_similarity(means[:1], means[1:])), abs=1e-5)


def test_classes_are_not_told_of_it(net, photos):
    labelled = model_of(net, labels=["only", "three", "labels"])
    found = cnnviz.occlusion(labelled, photos[0], f"similar:{photos[1]}", window=8, stride=8)
    assert "softmax" not in " ".join(found.checks)
    assert found[0].describe()["probability"] is None
    valued = model_of(net, head="value:years")
    entry = cnnviz.saliency(valued, photos[0], f"similar:{photos[1]}")[0].describe()
    assert "unit" not in entry
    assert entry["target"] == "similar to b.png"


def test_half_precision_compares_in_more(inputs):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model_of(net.bfloat16())
    found = cnnviz.saliency(model, inputs[:1].bfloat16(), Similar(inputs[1].bfloat16()))
    with torch.no_grad():
        one, other = (net(inputs[row : row + 1].bfloat16()).double() for row in range(2))
    assert found[0].score == pytest.approx(float(cosine_similarity(one, other)), abs=1e-6)


def test_a_picture_and_itself_have_cosine_one_and_no_gradient(net, photos):
    found = cnnviz.saliency(model_of(net), photos[0], f"similar:{photos[0]}")
    assert found[0].score == pytest.approx(1)
    assert "the cosine of a.png is 1, its maximum, where the gradient is zero" in " ".join(found.checks)
    other = cnnviz.saliency(model_of(net), photos[0], f"similar:{photos[1]}")
    assert "is 1, its largest" not in " ".join(other.checks)


class Rectified(nn.Module):
    """An embedding that is zero for dark pictures."""

    def forward(self, x):
        return x.flatten(1).relu()


def test_embeddings_of_zeros_are_told():
    model = cnnviz.Model(Rectified(), mean=[0.0], std=[1.0], input_size=(1, 2), channels=1)
    dark, bright = torch.full((1, 1, 1, 2), -1.0), torch.ones(1, 1, 2)
    found = cnnviz.saliency(model, dark, Similar(bright))
    assert found[0].score == 0
    assert not found.values.any()
    assert "is exactly 0: its embedding is zero" in " ".join(found.checks)
    with pytest.raises(TargetError, match="embedding of 'a tensor' is zero, so nothing can be compared with it"):
        cnnviz.saliency(model, bright[None], Similar(dark[0]))
    with pytest.raises(TargetError, match="is not finite"):
        cnnviz.saliency(model, bright[None], Similar(torch.full((1, 1, 2), torch.nan)))


def test_a_video_a_comparison_a_ranking_and_a_report(net, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, likeness = model_of(net), f"similar:{photos[1]}"
    frames = [Image.open(each).convert("RGB") for each in photos]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=100)
    film = cnnviz.video(model, "clip.gif", "gradcam", likeness, "out.gif")
    assert len(film) == 3
    assert film.scores[1] == pytest.approx(1, abs=0.02)  # a GIF has 256 colours
    with pytest.raises(TargetError, match="explains two pictures, and no clip"):
        cnnviz.video(model, "clip.gif", "gradcam", "similar:pair", "pair.gif")
    both = cnnviz.compare(model, photos[:2], ["gradcam", "occlusion"], "similar:pair", window=8, stride=8)
    assert [str(one.target) for one in both["occlusion"]] == ["similar to b.png", "similar to a.png"]
    ranked = cnnviz.rank_layers(model, photos[0], likeness)
    assert {one.name for one in ranked.layers} == {"deep", "wide.1"}
    assert {str(one.heatmap.target) for one in ranked.layers} == {"similar to b.png"}
    page = cnnviz.report(model, photos[:1], likeness, sections="predictions,maps,units", methods="gradcam")
    assert "similar to b.png" in page.html()


def test_a_picture_is_made_as_similar_as_can_be(net, photos):
    made = cnnviz.maximize(model_of(net), f"similar:{photos[1]}", steps=12, size=16)
    assert made[0].score > made[0].history[0]
    assert made[0].score > 0.5
    with pytest.raises(TargetError, match="explains two pictures that there are"):
        cnnviz.maximize(model_of(net), "similar:pair", steps=1)


def test_what_is_written_is_understood(photos):
    assert parse_target("similar:x/b.jpg").sides == ("x/b.jpg",)
    for between in (" - ", " vs ", " vs. "):
        assert parse_target(f"similar:x/b.jpg{between}similar:my - c.png").sides == ("x/b.jpg", "my - c.png")
    assert parse_target("similar:pair") == SimilarPair()
    assert parse_target("similar:./pair").sides == ("./pair",)
    labels = ["similar:b.jpg", "similar:pair"]
    assert parse_target("similar:b.jpg", labels) == ClassTarget(0, "similar:b.jpg")
    assert parse_target("similar:pair", labels) == ClassTarget(1, "similar:pair")
    assert parse_target("similar:3", (), ["similar"]) == Unit("similar", 3)
    assert parse_target("similar:3", (), ["other"]).sides == ("3",)
    for wrong in ("similar:", "similar:a - similar:b - similar:c", "similar:pair - similar:b"):
        with pytest.raises(TargetError, match="names no picture to be similar to; expected 'similar:FILE'"):
            parse_target(wrong)


def test_a_file_called_pair_is_a_file(net, photos):
    found = cnnviz.saliency(model_of(net), photos[0], f"similar:{photos[2].parent}/./pair")
    assert str(found[0].target) == "similar to pair"
    assert found.provenance.asked["target"] == "similar:./pair"


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("similar:nowhere.png", PictureError, "nowhere.png"),
        ("similar:pair", TargetError, "exactly two pictures, each towards the other; got 1"),
        (["similar:pair"], TargetError, "exactly two pictures"),
        (Similar(torch.rand(2, 3, 16, 16)), TargetError, "takes one picture at a time; got 2"),
        (Similar(torch.rand(1, 16, 16)), UsageError, "takes 3 channels; the picture to be similar to has 1"),
        (Similar(3), UsageError, "type int"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(net, photos, target, error, words):
    with pytest.raises(error, match=words):
        cnnviz.saliency(model_of(net), photos[0], target)


def test_embeddings_that_are_none_are_refused(net, photos):
    with pytest.raises(UnknownNameError, match=r"no layer 'dep'. Did you mean 'deep"):
        model_of(net, embedding="dep")
    with pytest.raises(UsageError, match="is no part of"):
        model_of(net, embedding=nn.Linear(2, 2))
    assert model_of(net, embedding=net.deep).embedding == "deep"
    one = model_of(nn.Sequential(net, nn.Linear(5, 1).double()))
    with pytest.raises(TargetError, match="one number, whose cosine is 1 or -1 whatever the picture"):
        cnnviz.saliency(one, photos[0], f"similar:{photos[1]}")
    with pytest.raises(TargetError, match="not mixed with other targets"):
        cnnviz.saliency(model_of(net), photos[:2], ["similar:pair", 0])
    with pytest.raises(TargetError, match="not units or likeness"):
        cnnviz.differentiable_maps(model_of(net), torch.rand(1, 3, 16, 16, dtype=DOUBLE), "similar:x.png", layer="deep")


def test_a_model_says_what_its_embedding_is(net):
    assert "embedding" not in model_of(net).describe()
    assert model_of(net, embedding="deep").describe()["embedding"] == "deep"


def test_a_factory_keeps_its_models_embedding_and_the_command_line_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text(
        "from torch import nn\nimport cnnviz\n\n"
        "def make():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    return cnnviz.Model(net, mean=[0.5] * 3, std=[0.5] * 3, input_size=16, embedding='1')\n"
    )
    assert cnnviz.load_model("made.py:make").embedding == "1"
    found = cnnviz.load_model("made.py:make", embedding="0")
    assert found.embedding == found.opening["embedding"] == "0"
