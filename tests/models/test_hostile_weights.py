"""Weights that mean harm or were damaged: refused in a sentence, or taken with a note, and never loaded in silence."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from cnnviz.errors import ModelError, WeightsError
from cnnviz.models.load import load_model
from cnnviz.models.state_dict import load_into
from cnnviz.models.weights import Checkpoint, read_checkpoint

MEBIBYTE = 1 << 20


def net():
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def state_with(change):
    return {name: change(held) if held.is_floating_point() else held for name, held in net().state_dict().items()}


def loaded(path):
    module = net()
    return module, load_into(module, read_checkpoint(path), "net")


@pytest.mark.parametrize(
    ("dtype", "named"),
    [(torch.int8, "int8"), (torch.int64, "int64"), (torch.bool, "bool"), (torch.complex64, "complex64")],
)
def test_values_that_loading_would_change_in_silence_are_refused(dtype, named, tmp_path):
    torch.save(state_with(lambda held: (held * 100).to(dtype)), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"0\.weight \(and 7 more\) holds {named} values, not float32.*quantised"):
        loaded(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_weights_are_refused():
    quantised = state_with(lambda held: torch.quantize_per_tensor(held, 0.01, 0, torch.qint8))
    with pytest.raises(WeightsError, match="holds qint8 values, not float32"):
        load_into(net(), Checkpoint("w.pth", quantised), "net")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floating_weights_are_taken_in_the_networks_type(dtype, tmp_path):
    torch.save(state_with(lambda held: held.to(dtype)), tmp_path / "w.pth")
    module, notes = loaded(tmp_path / "w.pth")
    assert notes == ()
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, net()[0].weight.to(dtype).float())


@pytest.mark.parametrize("how", [lambda held: held.to_sparse(), lambda held: held.to("meta")], ids=["sparse", "meta"])
def test_tensors_without_values_of_their_own_are_refused(how):
    with pytest.raises(WeightsError, match=r"'w\.pth' cannot be loaded into net") as caught:
        load_into(net(), Checkpoint("w.pth", state_with(how)), "net")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        (float("nan"), "4.weight", "4.weight"),
        (float("inf"), "0.bias", "0.bias"),
        (float("nan"), "1.running_var", "1.running_var"),
    ],
)
def test_weights_that_are_not_finite_are_taken_with_a_note(value, place, said, tmp_path):
    state = net().state_dict()
    state[place].view(-1)[0] = value
    torch.save(state, tmp_path / "w.pth")
    assert loaded(tmp_path / "w.pth")[1] == (f"'w.pth' holds numbers that are not finite, in {said}",)


def test_numbers_that_the_networks_type_cannot_hold_are_noted():
    huge = state_with(lambda held: held.double() * 1e300)
    (note,) = load_into(net(), Checkpoint("w.pth", huge), "net")
    assert note.startswith("'w.pth' holds numbers that are not finite, in 0.weight, 0.bias, ")


@pytest.mark.parametrize("swollen", ["data/0", "data.pkl"])
def test_an_archive_that_would_fill_the_memory_is_not_unpacked(swollen, tmp_path, monkeypatch):
    torch.save(net().state_dict(), tmp_path / "w.pth")
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(tmp_path / "w.pth") as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = bytes(30 * MEBIBYTE) if entry.filename.endswith(swollen) else source.read(entry)
            target.writestr(entry.filename, content)
    assert packed.stat().st_size < MEBIBYTE
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    for attempt in (read_checkpoint, load_model):
        with pytest.raises(ModelError, match=r"'packed\.pth' is an archive that unpacks to many times its size"):
            attempt(packed)


def test_a_checkpoint_that_somebody_packed_again_is_read(tmp_path):
    torch.save(net().state_dict(), tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as source,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    module, _ = loaded(tmp_path / "packed.pth")
    assert torch.equal(module[0].weight, net()[0].weight)


WHOLE = save(net().state_dict())


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_a_safetensors_file_cut_short(share, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(WHOLE[: max(1, int(len(WHOLE) * share))])
    with pytest.raises(WeightsError, match=r"'w\.safetensors' is (damaged|neither)"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("length", [0, 3, 2 * len(WHOLE), 99_999_999, 100_000_001, 2**62, 2**64 - 1])
def test_a_safetensors_header_that_claims_a_length(length, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + WHOLE[8:])
    with pytest.raises(WeightsError, match=r"'w\.safetensors' is (damaged|neither)"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "told",
    [
        {"shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]},
        {"shape": [1 << 32], "data_offsets": [0, 1 << 34]},
        {"shape": [1], "data_offsets": [4, 0]},
        {"shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_a_safetensors_header_that_lies(told, tmp_path):
    header = json.dumps({"0.weight": {"dtype": "F32"} | told}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(WeightsError, match=r"'w\.safetensors' is damaged: ") as caught:
        read_checkpoint(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, over what damage makes of a version number
@pytest.mark.parametrize("kind", ["archive", "older", "safetensors"])
def test_damaged_anywhere_it_is_read_or_refused_in_a_sentence(kind, tmp_path):
    path = tmp_path / "w.pth"
    if kind == "safetensors":
        path.write_bytes(WHOLE)
    else:
        torch.save(net().state_dict(), path, _use_new_zipfile_serialization=kind == "archive")
    whole, random, sentences = path.read_bytes(), np.random.default_rng(0), []
    for turn in range(250):
        damaged = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(damaged) if turn % 2 else min(len(damaged), 1500))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(damaged))] if turn % 7 == 0 else damaged)
        try:
            loaded(path)
        except WeightsError as error:
            sentences.append(str(error))
    assert len(sentences) > 50
    assert not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize(("place", "value"), [(6, 200), (46, 0xBA)], ids=["version", "name"])
def test_an_archive_whose_list_of_names_is_damaged(place, value, tmp_path):
    """Python's reader of archives raises an error of another kind over each."""
    torch.save(net().state_dict(), tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    listed = content.rfind(b"PK\x01\x02")
    content[listed + 9] |= 0x08  # names are UTF-8
    content[listed + place] = value
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"'w\.pth' is neither .* or it is damaged"):
        read_checkpoint(tmp_path / "w.pth")
