"""Networks in wrappers: explained as what is inside them is, or one sentence with the way out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cnnviz import gradcam, guided_backprop, occlusion, saliency
from cnnviz.errors import CnnvizError, ModelError
from tests.support.networks import Small, model_of
from tests.support.public_networks import NETWORKS, built, gradcam_by_autograd, memory, package, quiet
from tests.support.public_networks import model_of as model_of_public


def asked(net, inputs, layer=None):
    """Maps of a class: at a layer, of the input, and by hiding parts, by a faster copy if there is one."""
    model, before = model_of(net), memory(net)
    found = [
        gradcam(model, inputs, 1, layer=layer).values,
        saliency(model, inputs, 1).values,
        guided_backprop(model, inputs, 1).values,
        occlusion(model, inputs[:1], 1, window=16, stride=16).values,
    ]
    assert memory(net) == before
    return found


def alike(one, other):
    return all(np.abs(a - b).max() <= 1e-5 * np.abs(b).max() > 0 for a, b in zip(one, other, strict=True))


def compiled(net):
    return torch.compile(net, backend="eager")


def compiled_in_place(net):
    net.compile(backend="eager")
    return net


def a_part_compiled(net):
    net.conv2 = torch.compile(net.conv2, backend="eager")
    net.relu2 = torch.compile(net.relu2, backend="eager")
    return net


def a_part_on_devices(net):
    net.conv2 = nn.DataParallel(net.conv2)
    return net


def averaged(net):
    return AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))


def traced_by_fx(net):
    return torch.fx.symbolic_trace(net)


WRAPPERS = (compiled, compiled_in_place, a_part_compiled, a_part_on_devices, averaged, traced_by_fx)


@pytest.mark.parametrize("run_before", [False, True])
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_network_is_explained_as_the_network_itself(wrap, run_before, inputs):
    plain = Small().eval()
    net = wrap(copy.deepcopy(plain)).eval()
    if run_before:
        with torch.no_grad():
            net(inputs)
    assert alike(asked(net, inputs), asked(plain, inputs))


def test_the_layer_of_a_wrapped_network_is_the_same_one(inputs):
    plain = Small().eval()
    right = gradcam(model_of(plain), inputs, 1).layer
    assert gradcam(model_of(compiled(plain)), inputs, 1).layer == right
    assert gradcam(model_of(averaged(plain)), inputs, 1).layer == f"module.{right}"


@pytest.mark.parametrize("kind", ["DataParallel", "DistributedDataParallel"])
def test_networks_spread_over_devices_are_refused_with_the_way_out(kind, tmp_path, inputs):
    plain = Small().eval()
    if kind == "DataParallel":
        wrapped = nn.DataParallel(plain)
    else:
        if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
            pytest.skip("this torch has no gloo")
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
        try:
            wrapped = nn.parallel.DistributedDataParallel(plain)
        finally:
            torch.distributed.destroy_process_group()
    with pytest.raises(ModelError, match=rf"^{kind} splits batches over devices; pass its \.module instead\.$"):
        model_of(wrapped)
    assert alike(asked(wrapped.module, inputs), asked(plain, inputs))


def weight_norm(part):
    parametrizations.weight_norm(part)


def spectral_norm(part):
    parametrizations.spectral_norm(part)


def pruned(part):
    prune.l1_unstructured(part, "weight", amount=0.5)


def old_weight_norm(part):
    with quiet():
        nn.utils.weight_norm(part)


@pytest.mark.parametrize("change", [weight_norm, spectral_norm, pruned, old_weight_norm])
def test_weights_that_are_made_from_others(change, inputs):
    plain = Small().eval()
    net = copy.deepcopy(plain)
    change(net.conv2)
    with torch.no_grad():
        net.eval()(inputs)
        plain.conv2.weight.copy_(net.conv2.weight)
    with quiet():
        assert alike(asked(net, inputs), asked(plain, inputs))


def test_a_lightning_module(inputs):
    lightning = package("lightning.pytorch")

    class Task(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Small()

        def forward(self, x):
            return self.net(x)

    task = Task().eval()
    assert alike(asked(task, inputs), asked(task.net, inputs))


def test_a_lightning_module_that_has_no_forward_is_refused_with_the_way_out(inputs):
    lightning = package("lightning.pytorch")

    class Task(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Small()

        def training_step(self, batch, index):
            return self.net(batch).sum()

    with pytest.raises(CnnvizError, match=r"^Task has no forward of its own; pass the network inside it \(\.net\)\.$"):
        gradcam(model_of(Task()), inputs, 1)


def test_adapters_of_a_convolution_are_explained_as_the_merged_weights(inputs):
    peft = package("peft")
    plain = Small().eval()
    settings = peft.LoraConfig(r=2, target_modules=["conv1", "conv2"], init_lora_weights=False, modules_to_save=["fc"])
    with quiet():
        net = peft.get_peft_model(copy.deepcopy(plain), settings).eval()
        merged = copy.deepcopy(net).merge_and_unload().eval()
    found = asked(net, inputs)
    assert alike(found, asked(merged, inputs))
    assert not alike(found, asked(plain, inputs))


def test_adapters_of_a_transformer_are_explained_at_the_same_layer(inputs):
    peft, public = package("peft"), NETWORKS["transformers ViT"]
    net = built(public)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    with quiet():
        adapted = peft.get_peft_model(net, settings).eval()
    before = memory(adapted)
    found = gradcam(model_of_public(adapted, public), inputs, 1)
    assert memory(adapted) == before
    assert found.layer == f"base_model.model.{public.layers[0]}"
    right = gradcam_by_autograd(adapted, public, found.layer, inputs, 1).numpy()
    assert np.abs(found.values - right).max() <= 1e-6 * np.abs(right).max() > 0
