"""Files and places that networks cannot be had from: each is a sentence."""

from __future__ import annotations

import os
import urllib.error

import pytest
import torch
from torch import nn

from cnnviz.errors import ModelError, UsageError, WeightsError
from cnnviz.models import downloads
from cnnviz.models.labels import read_labels
from cnnviz.models.load import load_model
from cnnviz.models.sources import timm as from_timm
from cnnviz.models.sources.factory import open_factory
from cnnviz.models.weights import read_checkpoint

TINY = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

class Stubborn(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny()

    def forward(self, x):
        return self.net(x)

    def to(self, *args, **settings):
        raise RuntimeError("I stay where I am")
"""


@pytest.fixture
def unreadable(tmp_path, monkeypatch):
    """A file that its owner may not read, as a system says that."""
    path = tmp_path / "secret.pth"
    path.write_bytes(b"weights")
    opened = type(path).open

    def refuse(self, *args, **settings):
        if self.name == path.name:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **settings)

    monkeypatch.setattr(type(path), "open", refuse)
    return path


def test_a_file_that_may_not_be_read(unreadable):
    with pytest.raises(WeightsError, match=r"The weights file '.*secret\.pth' cannot be read: Permission denied\."):
        read_checkpoint(unreadable)


def test_labels_that_may_not_be_read(unreadable):
    with pytest.raises(UsageError, match=r"The label file '.*secret\.pth' cannot be read: Permission denied\."):
        read_labels(unreadable)


def test_a_name_that_no_system_has():
    with pytest.raises(WeightsError, match="cannot be read: embedded null byte"):
        read_checkpoint("a\0b.pth")


def test_an_exported_network_given_as_weights(tmp_path):
    exported = torch.export.export(nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(exported, tmp_path / "net.pt2")
    with pytest.raises(WeightsError, match=r"'net\.pt2' is an exported network with its own weights"):
        read_checkpoint(tmp_path / "net.pt2")


@pytest.mark.parametrize("where", [":tiny", "nets.py:"])
def test_half_a_factory(where):
    with pytest.raises(UsageError, match="names no factory; expected PACKAGE"):
        open_factory(where, None)


def test_code_without_the_name_of_a_function_offers_the_last_there_is(tmp_path):
    (tmp_path / "nets.py").write_text("def first(): pass\ndef second(): pass\ndef _own(): pass\n")
    (tmp_path / "bad.py").write_text("def first(:")
    with pytest.raises(UsageError, match=r"FILE\.py:NAME, such as nets\.py:second\."):
        load_model(tmp_path / "nets.py")
    with pytest.raises(UsageError, match=r"FILE\.py:NAME\.$"):
        load_model(tmp_path / "bad.py")


def test_a_network_that_cannot_be_moved(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(TINY)
    with pytest.raises(ModelError, match=r"cannot be moved to cpu \(.*I stay where I am.*\)\."):
        load_model(f"{tmp_path / 'nets.py'}:Stubborn", device="cpu")


def test_another_input_size_keeps_the_share_of_the_crop():
    usual = load_model("squeezenet1_0", weights="none").preprocess
    half = load_model("squeezenet1_0", weights="none", input_size=112).preprocess
    assert (usual.resize, half.resize, half.input_size) == (256, 128, (112, 112))


def refusing(error):
    def attempt(*_args, **_settings):
        raise error

    return attempt


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib.error.URLError("no route"), r"net-1\.pth, 5 MB\) are not in .*example\.org cannot be reached"),
        (TimeoutError(), r"example\.org cannot be reached"),
        (RuntimeError('invalid hash value (expected "1", got "2")'), r"arrived damaged \(net-1\.pth\); try again"),
        (OSError(28, "No space left on device"), r"cannot be saved to .*: No space left on device\."),
    ],
)
def test_downloads_that_fail(error, said, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refusing(error))
    with pytest.raises(WeightsError, match=said):
        downloads.download("https://example.org/net-1.pth", "net", 4.9)


def test_a_download_onto_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    from tests.support.disks import no_longer_than

    (tmp_path / "net.pth").write_bytes(os.urandom(20_000))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with no_longer_than(4096), pytest.raises(WeightsError, match=r"cannot be saved to .*: File too large\."):
        downloads.download((tmp_path / "net.pth").as_uri(), "net")
    assert [path.name for path in (tmp_path / "hub" / "checkpoints").iterdir()] == []


@pytest.mark.parametrize(
    ("error", "reachable"),
    [(urllib.error.HTTPError("", 403, "", None, None), True), (TimeoutError(), False), (ValueError("no URL"), False)],
)
def test_a_host_that_answers_anything_is_reachable(error, reachable, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", refusing(error))
    assert downloads.is_reachable("https://example.org") is reachable


class Library:
    """timm, as far as it is asked for trained weights."""

    def __init__(self, has_weights: bool) -> None:
        self.config = type("Config", (), {"has_weights": has_weights, "hf_hub_id": "hub/net", "url": ""})
        self.asked: list[dict] = []

    def get_pretrained_cfg(self, name):
        return self.config

    def create_model(self, name, **settings):
        self.asked.append(settings)
        if name == "broken":
            raise RuntimeError("no such block")
        return nn.Identity()


def test_timm_networks_without_trained_weights():
    with pytest.raises(WeightsError, match="timm has no trained weights for 'net'; take weights of your own"):
        from_timm._create_trained(Library(has_weights=False), "net")


def test_timm_networks_whose_weights_can_be_fetched(monkeypatch):
    library = Library(has_weights=True)
    monkeypatch.setattr(from_timm, "_cached_weights", lambda config: None)
    monkeypatch.setattr(from_timm, "is_reachable", lambda address: True)
    from_timm._create_trained(library, "net")
    from_timm._create_trained(library, "hf-hub:somebody/net")
    assert library.asked == [{"pretrained": True}, {"pretrained": True}]
    monkeypatch.setattr(from_timm, "is_reachable", lambda address: False)
    with pytest.raises(WeightsError, match="'hf-hub:somebody/net' is not a file here"):
        from_timm._create_trained(library, "hf-hub:somebody/net")


def test_timm_networks_that_cannot_be_built():
    with pytest.raises(ModelError, match=r"timm cannot build 'broken' \(.*no such block.*\)\."):
        from_timm._create_network(Library(has_weights=True), "broken")
