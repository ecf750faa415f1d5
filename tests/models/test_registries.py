"""The registries of torchvision and timm, read without importing them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision import models

from cnnviz.models import downloads
from cnnviz.models.sources import registries

MODELS = Path(models.__file__).parent


def test_torchvision_s_networks_and_addresses_are_its_own():
    kinds = {
        "classification": models, "segmentation": models.segmentation, "detection": models.detection,
        "video": models.video,
    }  # fmt: skip
    tasks = {name: task for task, module in kinds.items() for name in models.list_models(module=module)}
    names = list(tasks)
    own = {name: (tasks[name], tuple(entry.url for entry in models.get_model_weights(name))) for name in names}
    read = registries.read_torchvision(MODELS)
    assert read == own == registries.torchvision_registry()
    assert list(read) == names


def test_timm_s_networks_and_weights_are_its_own():
    timm = pytest.importorskip("timm")
    names = timm.list_models(pretrained=True)
    configs = {name: timm.get_pretrained_cfg(name) for name in names}
    own = {name: (one.hf_hub_id, one.hf_hub_filename, one.url) for name, one in configs.items()}
    read = registries.read_timm(Path(timm.__file__).parent / "models")
    assert [*read] == [*registries.timm_registry()] == names
    assert {name: (one.repository, one.file, one.url or "") for name, one in read.items()} == {
        name: (repository, file, url or "") for name, (repository, file, url) in own.items()
    }


def write_timm(folder, text):
    (folder / "__init__.py").write_text("from .net import *\n")
    (folder / "net.py").write_text(text)
    return folder


ONE = """
from .data import MEAN

def _cfg(url='', **kwargs):
    return {'url': url, 'mean': MEAN, **kwargs}


default_cfgs = generate_default_cfgs({
    'net.b2': _cfg(hf_hub_id='timm/'),
    'net.a10*': _cfg('http://somewhere/a.pth'),
    'net.untrained': _cfg(),
    'bare': _cfg(hf_hub_id='me/bare', hf_hub_filename='bare.bin'),
    'nobody': _cfg(hf_hub_id='timm/'),
})


@register_model
def net(**kwargs):
    return None


@register_model
def bare(**kwargs):
    return None


# @register_model
# def nobody(**kwargs):
"""


def test_tags_and_places_of_weights(tmp_path):
    read = registries.read_timm(write_timm(tmp_path, ONE))
    assert read == {
        "bare": ("me/bare", "bare.bin", ""),
        "net.a10": (None, None, "http://somewhere/a.pth"),
        "net.b2": ("timm/net.b2", None, ""),
    }
    assert list(read) == ["bare", "net.a10", "net.b2"]


@pytest.mark.parametrize(
    "addition",
    [
        "default_cfgs['net.c'] = Config()",
        "for each in default_cfgs:\n    pass",
        "if True:\n    @register_model\n    def other():\n        pass",
        "@register_model\n@other\ndef other():\n    pass",
        "register_model_deprecations(__name__, {\n    'net': 'bare',\n})",
    ],
)
def test_a_source_that_is_written_otherwise_is_not_read(tmp_path, addition):
    with pytest.raises((ValueError, TypeError)):
        registries.read_timm(write_timm(tmp_path, f"{ONE}\n{addition}\n"))


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_written_otherwise_is_asked_itself(tmp_path, monkeypatch, library):
    pytest.importorskip(library)
    monkeypatch.setattr(registries, "_models_folder", lambda name: tmp_path)
    monkeypatch.delitem(sys.modules, library if library == "timm" else "torchvision.models")
    expected = registries.read_torchvision(MODELS) if library == "torchvision" else None
    read = getattr(registries, f"{library}_registry")()
    assert read == expected if expected else len(read) > 1000


@pytest.mark.parametrize("settings", [{}, {"TORCH_HOME": "~/here"}, {"TORCH_HOME": ""}, {"XDG_CACHE_HOME": "/there"}])
def test_torch_s_cache_is_found_without_torch(monkeypatch, settings):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr(torch.hub, "_hub_dir", None)
        expected = torch.hub.get_dir()
        patch.delitem(sys.modules, "torch")
        assert downloads._torch_hub_folder() == Path(expected)


def test_listing_the_networks_loads_no_library():
    code = (
        "import sys; from cli.app import main\n"
        "try: main(['models'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert "resnet50" in told.stdout.split()
