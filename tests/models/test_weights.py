"""Weights from files: what is read, what is refused, and what is made to fit."""

import argparse
import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import cnnviz
from cnnviz.errors import ModelError, WeightsError
from cnnviz.models.state_dict import build_for, load_into
from cnnviz.models.weights import Checkpoint, read_checkpoint


def net(classes=4, width=6):
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, width, 3), bn=nn.BatchNorm2d(width), pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(), fc=nn.Linear(width, classes),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(2)
    return net().state_dict()


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Runs:
    """Unpickling it would create a file."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dict(tmp_path, state, legacy):
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(tmp_path / "w.pth")
    assert same(read.state, state)
    assert (read.name, read.notes) == ("w.pth", ())


def test_safetensors_whatever_its_name(tmp_path, state):
    save_file(state, tmp_path / "w.bin")
    assert same(read_checkpoint(tmp_path / "w.bin").state, state)


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
BESIDE = {
    "epoch": 7, "optimizer": OPTIMIZER, "args": argparse.Namespace(lr=0.1), "metric": np.float64(0.5),
    "history": np.arange(3.0), "best": torch.tensor(0.9),
}  # fmt: skip


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": OPTIMIZER, "loss": 0.3},
        lambda state: {"model": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"net": state, "acc": 91.2},
        lambda state: {"ema": state},
        lambda state: {"model_ema": state, "epoch": 1},
        lambda state: {"something_else": state, "optimizer": OPTIMIZER},
        lambda state: {**BESIDE, "state_dict": state},
    ],
)
def test_training_checkpoints(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.ckpt")
    assert same(read_checkpoint(tmp_path / "w.ckpt").state, state)


def test_averaged_weights_beside_the_plain_ones_are_mentioned(tmp_path, state):
    other = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"model_ema": other, "model": state}, tmp_path / "w.pth")
    read = read_checkpoint(tmp_path / "w.pth")
    assert same(read.state, state)
    assert read.notes == ("the file holds averaged weights 'model_ema' too; 'model' were used",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, state):
    for legacy in (False, True):
        torch.save({"state_dict": state, "x": Runs(tmp_path / "trace")}, tmp_path / "w.pth",
                   _use_new_zipfile_serialization=not legacy)  # fmt: skip
        with pytest.raises(WeightsError, match=r"'w.pth' is refused, because opening it would run code \(\w+.mkdir\)"):
            read_checkpoint(tmp_path / "w.pth")
    assert not (tmp_path / "trace").exists()


def test_a_whole_pickled_network_is_refused_with_advice(tmp_path):
    torch.save(net(), tmp_path / "whole.pt")
    with pytest.raises(
        WeightsError, match=r"whole pickled network \(torch.nn.modules.container.Sequential\).*state_dict"
    ):
        read_checkpoint(tmp_path / "whole.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_with_advice(tmp_path):
    torch.jit.trace(net().eval(), torch.zeros(1, 3, 8, 8)).save(tmp_path / "script.pt")
    with pytest.raises(WeightsError, match=r"'script.pt' is a TorchScript file.*torch.export"):
        read_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "neither a safetensors file nor a PyTorch checkpoint"),
        (b"PK\x03\x04 half an archive", "neither a safetensors file"),
        (b"\x80\x02 half a pickle", "not a PyTorch checkpoint, or it is damaged"),
        ((40).to_bytes(8, "little") + b'{"a": broken', "safetensors file 'w.pth' is damaged"),
    ],
)
def test_no_checkpoint_is_one_sentence(tmp_path, content, said):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        read_checkpoint(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_truncated_checkpoint(tmp_path, state):
    torch.save(state, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "w.pth").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(WeightsError, match="damaged"):
            read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {}, {"optimizer": OPTIMIZER}])
def test_no_weights_inside(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"'w.pth' holds no weights by name, but a"):
        read_checkpoint(tmp_path / "w.pth")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file 'absent.pth'"):
        read_checkpoint("absent.pth")
    with pytest.raises(WeightsError, match="is a folder; expected a weights file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "backbone.", "module.model.", "_orig_mod.module.", "net._orig_mod."]
)
def test_prefixes_are_taken_off(state, prefix):
    module = net()
    assert load_into(module, Checkpoint("w", prefixed(state, prefix)), "net") == ()
    assert same(module.state_dict(), state)


def test_entries_outside_the_prefix_are_left_out_with_a_note(state):
    module, loss = net(), {"criterion.weight": torch.ones(4), "n_averaged": torch.tensor(3)}
    notes = load_into(module, Checkpoint("w.ckpt", {**prefixed(state, "model."), **loss}), "net")
    assert notes == ("entries of 'w.ckpt' outside 'model.' were left out: 1",)
    assert same(module.state_dict(), state)


def test_a_network_whose_own_names_have_a_prefix_keeps_it(state):
    module = nn.ModuleDict({"model": net()})
    load_into(module, Checkpoint("w", prefixed(state, "model.")), "net")
    assert same(module["model"].state_dict(), state)


def test_half_precision_weights_are_taken_in_the_networks_precision(state):
    module = net()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    load_into(module, Checkpoint("w", half), "net")
    assert module.conv.weight.dtype == torch.float32


def test_what_does_not_fit_is_named_and_nothing_loaded(state):
    module = net()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    wrong = {name: tensor for name, tensor in state.items() if not name.startswith("bn.") or "running" in name}
    wrong["conv.weight"] = torch.zeros(6, 1, 3, 3)
    wrong["head.weight"] = torch.zeros(2)
    with pytest.raises(WeightsError) as caught:
        load_into(module, Checkpoint("w.pth", wrong), "net")
    assert str(caught.value) == (
        "'w.pth' does not fit net: 2 missing (bn.weight, bn.bias), 1 unexpected (head.weight), "
        "1 of another shape (conv.weight is 6x1x3x3, not 6x3x3x3). "
        "A network whose last layer was replaced opens as FILE.py:FUNCTION."
    )
    assert same(module.state_dict(), before)


def test_another_network_is_called_that():
    with pytest.raises(
        WeightsError, match=r"does not fit net; it is of another network: the file has features.0.weight"
    ):
        load_into(net(), Checkpoint("w.pth", {"features.0.weight": torch.zeros(2)}), "net")


def test_a_long_list_is_cut():
    with pytest.raises(WeightsError, match=r"5 unexpected \(x0, x1, x2, ...\)"):
        load_into(net(), Checkpoint("w", {**net().state_dict(), **{f"x{i}": torch.zeros(1) for i in range(5)}}), "net")


def test_a_different_number_of_classes_is_said():
    with pytest.raises(WeightsError, match="The file is for 9 classes, the network has 4"):
        load_into(net(), Checkpoint("w.pth", net(classes=9).state_dict()), "net")


def test_networks_are_built_with_the_checkpoints_classes():
    trained = net(classes=9)
    fitted = build_for(Checkpoint("w", prefixed(trained.state_dict(), "module.")), lambda n: net(n or 4), "net", 4)
    assert fitted.classes == 9
    assert same(fitted.module.state_dict(), trained.state_dict())


def test_other_misfits_do_not_change_the_classes():
    with pytest.raises(WeightsError, match=r"conv.weight is 8x3x3x3, not 6x3x3x3"):
        build_for(Checkpoint("w", net(classes=9, width=8).state_dict()), lambda n: net(n or 4), "net", 4)


def test_weights_left_without_random_numbers_are_all_from_the_file():
    trained = net()
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    fitted = build_for(Checkpoint("w", trained.state_dict()), lambda n: net(), "net", 4)
    assert same(fitted.module.state_dict(), trained.state_dict())
    assert torch.equal(torch.rand(2), expected)


NO_MEMORY = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("error", [RuntimeError(NO_MEMORY), MemoryError(), OSError(12, "Cannot allocate memory")])
def test_weights_are_not_called_damaged_for_want_of_memory(ending, error, state, tmp_path, monkeypatch):
    file = tmp_path / f"w.{ending}"
    torch.save(state, file) if ending == "pt" else save_file(state, file)

    def full(*_args, **_settings):
        raise error

    monkeypatch.setattr("torch.load" if ending == "pt" else "safetensors.torch.load_file", full)
    with pytest.raises(MemoryError):
        read_checkpoint(file)
    with pytest.raises(ModelError, match="There is not enough memory to open 'squeezenet1_0'") as raised:
        cnnviz.load_model("squeezenet1_0", weights=file)
    assert "damaged" not in str(raised.value)
    assert "delete" not in str(raised.value)


def test_a_network_that_does_not_fit_on_its_device(monkeypatch):
    def full(*_args, **_settings):
        raise RuntimeError(NO_MEMORY)

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(ModelError, match="not enough memory to open 'digits-lenet5' on cpu"):
        cnnviz.load_model("digits-lenet5", device="cpu")
