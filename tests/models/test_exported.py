"""Networks exported with torch.export."""

import logging

import pytest
import torch
from torch import nn
from torch.export import Dim
from torchvision.models.resnet import BasicBlock, ResNet

from cnnviz.errors import ModelError, UsageError
from cnnviz.models.load import load_model

SIDE, CLASSES = 64, 7


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(4)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES).eval()


def export(module, file, shape=(2, 3, SIDE, SIDE), dynamic=None):
    inputs = (torch.randn(shape),)
    torch.export.save(torch.export.export(module, inputs, dynamic_shapes=None if dynamic is None else (dynamic,)), file)
    return file


@pytest.fixture(scope="module")
def dynamic(trained, tmp_path_factory):
    return export(trained, tmp_path_factory.mktemp("pt2") / "dynamic.pt2", dynamic={0: Dim("batch")})


@pytest.fixture(scope="module")
def fixed(trained, tmp_path_factory):
    return export(trained, tmp_path_factory.mktemp("pt2") / "fixed.pt2", shape=(3, 3, SIDE, SIDE))


@pytest.mark.parametrize("name", ["dynamic", "fixed"])
def test_layers_keep_their_names_and_can_be_hooked(trained, name, request):
    model = load_model(request.getfixturevalue(name), device="cpu")
    named = dict(trained.named_modules())
    assert {layer for layer, _ in model.module.named_modules()} >= {layer for layer in named if "conv" in layer}
    seen, inputs = {}, torch.randn(3, 3, SIDE, SIDE, requires_grad=True)
    for module, key in ((model.module, "exported"), (trained, "trained")):
        layer = module.get_submodule("layer1.0.conv1")
        hook = layer.register_forward_hook(lambda part, given, output, key=key: seen.update({key: output.clone()}))
        module(inputs)
        hook.remove()
    torch.testing.assert_close(seen["exported"], seen["trained"])
    assert seen["exported"].abs().sum() > 0


def test_gradients_flow_to_layers_and_input(trained, dynamic):
    model = load_model(dynamic, device="cpu")
    inputs = torch.randn(2, 3, SIDE, SIDE, requires_grad=True)
    kept = []
    hook = model.module.get_submodule("layer3.0").register_forward_hook(lambda part, given, output: kept.append(output))
    score = model.forward(inputs)[:, 2].sum()
    hook.remove()
    at_layer, at_input = torch.autograd.grad(score, [kept[0], inputs])
    (expected,) = torch.autograd.grad(trained(inputs)[:, 2].sum(), inputs)
    torch.testing.assert_close(at_input, expected)
    assert at_layer.abs().sum() > 0


def test_a_dynamic_batch_is_free(dynamic):
    model = load_model(dynamic, device="cpu")
    assert model.fixed_batch is None
    assert model.forward(torch.randn(5, 3, SIDE, SIDE)).shape == (5, CLASSES)
    assert model.preprocess.input_size == (SIDE, SIDE)
    assert model.origin == {"source": "torch.export", "file": "dynamic.pt2"}
    assert model.notes == ("preprocessing was not given: ImageNet's mean and std assumed",)


def test_a_fixed_batch_and_size_are_known(fixed):
    model = load_model(fixed, mean=[0.5] * 3, std=[0.5] * 3, device="cpu")
    assert model.fixed_batch == 3
    assert model.notes == ()
    assert len(model.layers) > 10
    with pytest.raises(UsageError, match="fixed was exported for inputs of 64x64 only"):
        load_model(fixed, input_size=96, device="cpu")


class Small(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(self.conv(x)).mean((2, 3))


def test_dynamic_sides_may_be_changed(tmp_path):
    sides = {0: Dim("batch"), 2: Dim.AUTO, 3: Dim.AUTO}
    file = export(Small().eval(), tmp_path / "sides.pt2", shape=(2, 1, 20, 30), dynamic=sides)
    model = load_model(file, device="cpu")
    assert (model.preprocess.input_size, model.preprocess.channels) == ((20, 30), 1)
    assert load_model(file, input_size=24, device="cpu").preprocess.input_size == (24, 24)


def test_a_bounded_batch_is_kept_within_its_bounds(tmp_path):
    file = export(Small().eval(), tmp_path / "b.pt2", (3, 1, 8, 8), {0: Dim("batch", min=2, max=4)})
    model = load_model(file, device="cpu")
    assert model.fixed_batch == 3
    assert model.forward(torch.zeros(3, 1, 8, 8)).shape == (3, 4)


def test_a_batch_that_may_not_be_one_is_kept_as_it_was_exported(tmp_path):
    file = export(Small().eval(), tmp_path / "b.pt2", (3, 1, 8, 8), {0: Dim("batch", min=2)})
    assert load_model(file, device="cpu").fixed_batch == 3


def test_a_network_exported_in_training_mode_is_noted(tmp_path):
    model = load_model(export(Small().train(), tmp_path / "t.pt2", (1, 1, 8, 8)), device="cpu")
    assert "it was exported in training mode: call eval() before torch.export" in model.notes


class Two(nn.Module):
    def forward(self, x, y):
        return x.mean((2, 3)) + y


def test_other_inputs_than_pictures_are_refused(tmp_path):
    torch.export.save(torch.export.export(Two(), (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3))), tmp_path / "two.pt2")
    with pytest.raises(ModelError, match=r"'two.pt2' takes 2 inputs; expected one, a batch of pictures"):
        load_model(tmp_path / "two.pt2")
    with pytest.raises(ModelError, match=r"takes an input of 2 dimensions; expected pictures"):
        load_model(export(nn.Linear(4, 2), tmp_path / "flat.pt2", (1, 4)))


def test_a_damaged_file_is_one_sentence(dynamic, tmp_path, capfd, caplog):
    content = dynamic.read_bytes()
    renamed = (
        content.replace(b'"graph_module"', b'"graph_modulo"'),
        content.replace(b"models/model.json", b"models/medal.json"),
    )
    for damaged in (content[: len(content) // 2], *renamed):
        (tmp_path / "bad.pt2").write_bytes(damaged)
        with pytest.raises(ModelError, match=r"'bad.pt2' .* damaged") as caught:
            load_model(tmp_path / "bad.pt2")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_weights_are_not_taken_besides(dynamic):
    with pytest.raises(UsageError, match=r"'dynamic.pt2' holds its own weights; leave out the weights 'mine.pth'"):
        load_model(dynamic, weights="mine.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_as_the_model_is_refused_with_advice(tmp_path):
    torch.jit.trace(Small().eval(), torch.zeros(1, 1, 8, 8)).save(tmp_path / "script.pt")
    with pytest.raises(ModelError, match=r"'script.pt' is a TorchScript file, whose layers cannot be hooked; export"):
        load_model(tmp_path / "script.pt")


def test_a_pickled_network_as_the_model_is_refused_with_advice(tmp_path):
    torch.save(Small(), tmp_path / "whole.pth")
    with pytest.raises(ModelError, match=r"whole pickled network .*; save its weights instead"):
        load_model(tmp_path / "whole.pth")
