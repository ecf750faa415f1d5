"""Networks of torchvision, without a network connection."""

import os
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model, get_model_weights

import cnnviz
from cnnviz.core.sample import Entrance
from cnnviz.errors import UnknownNameError, WeightsError
from cnnviz.images.inputs import gather
from cnnviz.models import downloads
from cnnviz.models.load import load_model
from cnnviz.models.sources.registries import torchvision_registry
from cnnviz.models.sources.torchvision import _preprocessing_of, open_torchvision

V1, V2 = "mobilenet_v2-b0353104.pth", "mobilenet_v2-7ebf99e0.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no way to download."""

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(3)
    return get_model("mobilenet_v2", weights=None).state_dict()


def same(module, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_cached_default_weights_bring_labels_and_preprocessing(cache, mobilenet):
    torch.save(mobilenet, cache / V2)
    model = load_model("mobilenet_v2", device="cpu")
    assert same(model.module, mobilenet)
    assert model.origin == {"source": "torchvision", "weights": "IMAGENET1K_V2"}
    assert (model.preprocess.input_size, model.preprocess.resize) == ((224, 224), 232)
    assert model.labels[:2] == ("tench", "goldfish")
    assert model.notes == ()


def test_other_cached_weights_stand_in_for_unreachable_ones_with_a_note(cache, mobilenet):
    torch.save(mobilenet, cache / V1)
    model = load_model("mobilenet_v2", device="cpu")
    assert model.origin["weights"] == "IMAGENET1K_V1"
    assert model.preprocess.resize == 256
    assert model.notes == ("IMAGENET1K_V1 used: IMAGENET1K_V2 is neither cached nor reachable",)


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "imagenet1k_v1", "MobileNet_V2_Weights.IMAGENET1K_V1"])
def test_weights_by_name(cache, mobilenet, name):
    torch.save(mobilenet, cache / V1)
    assert load_model("mobilenet_v2", weights=name, device="cpu").origin["weights"] == "IMAGENET1K_V1"


def test_unreachable_weights_say_file_size_and_folder(cache):
    with pytest.raises(WeightsError) as caught:
        load_model("resnet50", device="cpu")
    said = str(caught.value)
    assert all(part in said for part in ("resnet50-11ad3fa6.pth", "98 MB", str(cache), "--weights none"))
    assert "\n" not in said


def test_named_weights_are_not_replaced_by_others(cache, mobilenet):
    torch.save(mobilenet, cache / V1)
    with pytest.raises(WeightsError, match=V2):
        load_model("mobilenet_v2", weights="IMAGENET1K_V2", device="cpu")


def test_unknown_weights_name_lists_those_there_are(cache):
    with pytest.raises(UnknownNameError, match="resnet50 has IMAGENET1K_V1, IMAGENET1K_V2"):
        load_model("resnet50", weights="IMAGENET1K_V3", device="cpu")


def test_damaged_cached_file_says_to_delete_it(cache):
    (cache / V2).write_bytes(b"PK\x03\x04 half a download")
    with pytest.raises(WeightsError, match="delete it to have it fetched again") as caught:
        load_model("mobilenet_v2", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_download_lands_in_the_cache_with_its_hash_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    good = "2cf24dba"
    for name in (f"net-{good}.pth", "net-00000000.pth"):
        (tmp_path / name).write_bytes(b"hello")
    place = downloads.download((tmp_path / f"net-{good}.pth").as_uri(), "net")
    assert place.read_bytes() == b"hello"
    assert place == downloads.cached_file((tmp_path / f"net-{good}.pth").as_uri())
    with pytest.raises(WeightsError, match="arrived damaged"):
        downloads.download((tmp_path / "net-00000000.pth").as_uri(), "net")
    assert [file.name for file in place.parent.iterdir()] == [place.name]


def test_a_refused_connection_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"net-1234abcd.pth, 12 MB\) are not in .* and 127.0.0.1 cannot be reached"):
        downloads.download("http://127.0.0.1:9/net-1234abcd.pth", "net", 12.3)
    assert not downloads.is_reachable("http://127.0.0.1:9/")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_heads_that_only_training_calls_are_left_out(cache, name, tmp_path):
    model = load_model(name, weights="none", device="cpu")
    assert not any("aux" in layer.lower() for layer, _ in model.module.named_modules())
    trained = get_model(name, weights=None, init_weights=False, aux_logits=True, transform_input=True).eval()
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    model = load_model(name, weights=tmp_path / "mine.pth", device="cpu")
    picture = torch.randn(1, 3, 96, 96)
    assert torch.equal(model.forward(picture), trained(picture))


def test_random_weights_keep_labels_and_say_so(cache):
    model = load_model("squeezenet1_1", weights="none", device="cpu")
    assert len(model.labels) == 1000
    assert model.notes == ("the weights are random",)
    assert model.origin["weights"] == "random"


def test_a_checkpoint_of_other_classes_just_opens(cache, tmp_path):
    trained = get_model("squeezenet1_1", weights=None, num_classes=5).eval()
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "mine.pth")
    model = load_model("squeezenet1_1", weights=tmp_path / "mine.pth", labels=list("abcde"), device="cpu")
    picture = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.forward(picture), trained(picture))
    assert model.labels == tuple("abcde")
    assert load_model("squeezenet1_1", weights=tmp_path / "mine.pth", device="cpu").labels is None
    assert "assumed" in model.notes[0]
    given = {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert load_model("squeezenet1_1", weights=tmp_path / "mine.pth", device="cpu", **given).notes == ()


def test_torchvisions_own_file_is_known_by_its_name(cache, mobilenet, tmp_path):
    torch.save(mobilenet, tmp_path / V1)
    model = load_model("mobilenet_v2", weights=tmp_path / V1, device="cpu")
    assert (model.preprocess.resize, model.notes) == (256, ())


def test_old_names_in_densenets_are_understood(cache, tmp_path):
    trained = get_model("densenet121", weights=None)
    older = {
        name.replace("norm1", "norm.1")
        .replace("norm2", "norm.2")
        .replace("conv1", "conv.1")
        .replace("conv2", "conv.2"): t
        for name, t in trained.state_dict().items()
        if "num_batches_tracked" not in name
    }
    torch.save(older, tmp_path / "old.pth")
    assert same(load_model("densenet121", weights=tmp_path / "old.pth", device="cpu").module, trained.state_dict())


def test_networks_that_insist_on_versions_open_from_safetensors(cache, tmp_path):
    trained = get_model("mnasnet0_5", weights=None)
    save_file(trained.state_dict(), tmp_path / "mine.safetensors")
    model = load_model("mnasnet0_5", weights=tmp_path / "mine.safetensors", device="cpu")
    assert same(model.module, trained.state_dict())


def test_networks_of_other_tasks_are_not_listed():
    names = torchvision_registry()
    assert {"resnet50", "vgg16", "vit_b_16", "fcn_resnet50", "r3d_18"} <= set(names)
    assert not any(name.startswith(("quantized", "raft")) for name in names)


def test_a_network_for_clips_brings_its_preprocessing_and_labels():
    model = load_model("r3d_18", weights="none", device="cpu")
    preset = get_model_weights("r3d_18").DEFAULT.transforms()
    known = model.preprocess
    assert (known.input_size, known.resize, known.rate) == ((16, 112, 112), (128, 171), 15.0)
    assert (list(known.mean), list(known.std)) == (preset.mean, preset.std)
    assert (len(model.labels), model.labels[1]) == (400, "air drumming")
    assert model.notes == ("the weights are random",)
    assert known.entrance == Entrance(3, 3, None, 15.0, 16)
    small = load_model("r3d_18", weights="none", input_size=(8, 56, 84), device="cpu").preprocess
    assert (small.input_size, small.resize) == ((8, 56, 84), (64, 128))
    frames = torch.randint(0, 256, (20, 60, 80, 3), dtype=torch.uint8)
    values, _ = known(gather(frames.numpy(), known.entrance)[0])
    torch.testing.assert_close(values, preset(frames[2:18].permute(0, 3, 1, 2)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "size", "rate"), [("mvit_v1_b", (16, 224, 224), 7.5), ("s3d", (128, 224, 224), 15.0)])
def test_networks_for_clips_take_as_many_frames_as_they_were_measured_with(name, size, rate):
    known = _preprocessing_of(nn.Identity(), name, get_model_weights(name).DEFAULT)
    assert (known.input_size, known.rate) == (size, rate)


LRASPP, LRASPP_FILE = "lraspp_mobilenet_v3_large", "lraspp_mobilenet_v3_large-d234d4ea.pth"
SSDLITE, SSDLITE_FILE = "ssdlite320_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"


def trained(classes, name=LRASPP):
    torch.manual_seed(4)
    return get_model(name, weights=None, weights_backbone=None, num_classes=classes).state_dict()


def test_a_segmentation_network_brings_its_labels_and_sees_whole_pictures(cache):
    state = trained(21)
    torch.save(state, cache / LRASPP_FILE)
    model = load_model(LRASPP, device="cpu")
    assert same(model.module, state)
    assert model.origin == {"source": "torchvision", "weights": "COCO_WITH_VOC_LABELS_V1"}
    assert (model.preprocess.input_size, model.preprocess.resize) == ((520, 520), "whole")
    assert (len(model.labels), model.labels[0], model.labels[8]) == (21, "__background__", "cat")
    small = load_model(LRASPP, input_size=64, device="cpu")
    assert (small.preprocess.input_size, small.preprocess.resize) == ((64, 64), "whole")
    assert small.forward(torch.zeros(1, 3, 64, 64)).shape == (1, 21, 64, 64)


def test_segmentation_weights_are_looked_for_offline_and_their_names_known(cache):
    with pytest.raises(WeightsError, match=r"fcn_resnet50 \(fcn_resnet50_coco-1167a1af.pth, 135 MB\) are not in"):
        load_model("fcn_resnet50", device="cpu")
    with pytest.raises(UnknownNameError, match="fcn_resnet50 has COCO_WITH_VOC_LABELS_V1"):
        load_model("fcn_resnet50", weights="IMAGENET1K_V1", device="cpu")


def test_segmentation_weights_of_other_classes_fit_and_training_s_head_is_left_out(cache, tmp_path):
    torch.save(trained(5), tmp_path / "mine.pth")
    model = load_model(LRASPP, weights=tmp_path / "mine.pth", device="cpu")
    assert model.forward(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 32, 32)
    assert model.labels is None
    name = "deeplabv3_mobilenet_v3_large"
    torch.manual_seed(4)
    state = get_model(name, weights=None, weights_backbone=None, aux_loss=True, num_classes=21).state_dict()
    assert any(key.startswith("aux_classifier.") for key in state)
    torch.save(state, cache / "deeplabv3_mobilenet_v3_large-fc3c493d.pth")
    assert same(load_model(name, device="cpu").module, state)


def test_random_segmentation_networks_download_nothing(cache):
    model = load_model(LRASPP, weights="none", device="cpu")
    assert same(model.module, load_model(LRASPP, weights="none", device="cpu").module.state_dict())
    assert model.origin["weights"] == "random"
    assert not any(cache.iterdir())


def test_a_detector_sees_whole_pictures_and_brings_its_labels(cache):
    torch.manual_seed(4)
    state = get_model(SSDLITE, weights=None, weights_backbone=None).state_dict()
    torch.save(state, cache / SSDLITE_FILE)
    model = load_model(SSDLITE, device="cpu")
    assert same(model.module, state)
    assert (model.preprocess.input_size, model.preprocess.resize) == ((320, 320), "whole")
    assert (model.preprocess.mean, model.preprocess.std) == ((0.0,), (1.0,))
    assert (len(model.labels), model.labels[0], model.labels[18]) == (91, "__background__", "dog")
    wide, tall = (Image.new("RGB", size, (200, 30, 60)) for size in ((64, 32), (20, 50)))
    found = cnnviz.predict(model, [wide, tall], threshold=0.0)
    for some, (width, height) in zip(found, ((64, 32), (20, 50)), strict=True):
        assert some
        assert all(0 <= one.box[0] <= one.box[2] <= width for one in some)
        assert all(0 <= one.box[1] <= one.box[3] <= height for one in some)
    with pytest.raises(WeightsError, match=r"retinanet_resnet50_fpn .* are not in"):
        load_model("retinanet_resnet50_fpn", device="cpu")


def test_pictures_of_several_shapes_are_asked_together(cache):
    model = load_model(LRASPP, weights="none", input_size=32, device="cpu")
    wide, tall = (Image.new("RGB", size, (200, 30, 60)) for size in ((64, 32), (20, 50)))
    found = cnnviz.gradcam(model, [wide, tall], "cat@3,4", relu=False)
    assert [one.on_original().shape for one in found] == [(32, 64), (50, 20)]
    assert all(np.isfinite(one.on_original(align="pixel")).all() for one in found)


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "mnasnet0_5", "maxvit_t", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5"]
)
def test_families_open_with_random_weights(cache, name):
    module = load_model(name, weights="none", device="cpu").module
    assert same(module, load_model(name, weights="none", device="cpu").module.state_dict())


def test_a_transformer_has_the_size_of_its_weights(cache):
    with torch.device("meta"):
        opened = open_torchvision("vit_h_14", "none")
    assert opened.module.image_size == 518
    assert opened.preprocess.input_size == (518, 518)


@pytest.mark.real
@pytest.mark.parametrize(("name", "label"), [("squeezenet1_0", "macaw"), ("mobilenet_v2", "macaw")])
def test_real_network_names_a_photograph(monkeypatch, name, label):
    folder = os.environ.get("CNNVIZ_REAL")
    if not folder:
        pytest.skip("CNNVIZ_REAL is not set")
    monkeypatch.setenv("TORCH_HOME", str(Path(folder) / "torch_home"))
    model = load_model(name, device="cpu")
    with Image.open(Path(folder) / "photos" / "macaw.jpg") as photograph:
        inputs = get_model_weights(name).DEFAULT.transforms()(photograph.convert("RGB"))[None]
    assert label in model.labels[int(model.forward(inputs).argmax())]
