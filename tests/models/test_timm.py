"""Networks of timm, without a network connection."""

import pytest
import torch
from safetensors.torch import save_file

from cnnviz.errors import MissingExtraError, UnknownNameError, WeightsError
from cnnviz.models import names
from cnnviz.models.load import load_model
from cnnviz.models.names import model_names
from cnnviz.models.sources import timm as source

timm = pytest.importorskip("timm")
NAME, TAG = "test_resnet", "r160_in1k"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no way to download."""

    def unreachable(*args, **kwargs):
        raise AssertionError("asked the hub")

    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr("timm.models._hub.hf_hub_download", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(source, "is_reachable", lambda url: False)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(6)
    return timm.create_model(NAME, pretrained=False).eval()


def fill(cache, module):
    """Weights as the hub's own client leaves them."""
    folder = cache / f"models--timm--{NAME}.{TAG}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    save_file(module.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")


def test_random_weights_preprocessing_and_labels():
    model = load_model(f"timm:{NAME}", weights="none", device="cpu")
    assert (model.name, model.origin) == (NAME, {"source": "timm", "weights": "random"})
    assert model.notes == ("the weights are random",)
    assert model.preprocess.input_size == (160, 160)
    assert model.preprocess.resize == 168
    assert model.labels[:2] == ("tench", "goldfish")
    assert not model.module.training


@pytest.mark.parametrize("name", [NAME, f"{NAME}.{TAG}"])
def test_cached_weights_need_no_connection(cache, trained, name):
    fill(cache, trained)
    model = load_model(f"timm:{name}", device="cpu")
    assert all(torch.equal(one, two) for one, two in zip(model.module.parameters(), trained.parameters(), strict=True))
    assert model.origin == {"source": "timm", "weights": TAG}
    assert model.notes == ()
    listed = {entry.name: entry.cached for entry in model_names(f"timm:{NAME}*", sources=("timm",))}
    assert listed[f"timm:{NAME}.{TAG}"] is True
    assert False in listed.values() or len(listed) == 1


def test_unreachable_weights_are_one_sentence(capfd):
    with pytest.raises(WeightsError) as caught:
        load_model(f"timm:{NAME}", device="cpu")
    said = str(caught.value)
    assert all(part in said for part in ("model.safetensors", f"timm/{NAME}.{TAG}", "MB", "--weights none"))
    assert "\n" not in said
    assert capfd.readouterr().err == ""


def test_names_on_the_hub_need_a_connection():
    with pytest.raises(WeightsError, match="'hf-hub:timm/some' is not a file here"):
        load_model("timm:hf-hub:timm/some", device="cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnt18", "There is no timm network 'resnt18'. Did you mean 'resnet18'"),
        (f"{NAME}.r161_in1k", f"Did you mean '{NAME}.{TAG}'"),
    ],
)
def test_unknown_names_offer_the_nearest(name, said):
    with pytest.raises(UnknownNameError, match=said):
        load_model(f"timm:{name}", device="cpu")


def test_a_checkpoint_of_other_classes_just_opens(tmp_path):
    mine = timm.create_model(NAME, num_classes=5).eval()
    torch.save({"model": {f"module.{name}": tensor for name, tensor in mine.state_dict().items()}}, tmp_path / "w.pth")
    model = load_model(f"timm:{NAME}", weights=tmp_path / "w.pth", device="cpu")
    picture = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.forward(picture), mine(picture))
    assert model.labels is None
    assert model.notes == (f"preprocessing was not given: that of timm's {NAME} assumed",)


def test_without_timm_the_extra_is_named(monkeypatch):
    for module in (source, names):
        monkeypatch.setattr(module, "has_timm", lambda: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnnviz\[timm\]'"):
        load_model("timm:resnet18", device="cpu")
    assert model_names(sources=("timm",)) == []
