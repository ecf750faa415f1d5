"""Where layers keep their places, remembered: the same as recognised anew, and never when it no longer holds."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import swin_v2_t, vit_b_16

from cnnviz import Model, gradcam
from cnnviz.engine.arrangement import _KEPT, MOST_KEPT
from cnnviz.engine.capture import capture
from cnnviz.engine.layers import observe_layers
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError
from tests.support.networks import Small


class Pruning(nn.Module):
    """Looks at every second place of a dark picture only, so that its layers' shapes are the picture's doing."""

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.stem, self.act, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)
        self.in_place = in_place

    def forward(self, inputs):
        dark = bool(inputs.mean() < 0)
        inputs = inputs.mul_(2) if self.in_place else inputs * 2
        kept = inputs[..., ::2, ::2] if dark else inputs
        return self.head(self.act(self.stem(kept)).mean(dim=(2, 3)))


def hooked(net):
    return sum(len(part._forward_hooks) for part in net.modules())


def caught_in(net, inputs, layers):
    with undisturbed(net), capture(net, layers) as caught:
        net(inputs)
    return caught


def test_only_the_asked_layers_are_hooked_once_their_places_are_known(inputs):
    net, counts = Small(), []
    net.conv2.register_forward_hook(lambda *_: counts.append(hooked(net)))
    for _ in range(2):
        caught_in(net, inputs, ["relu2"])
    first, second = counts
    assert first == len(list(net.modules())) + 1
    assert second == 3


def test_nothing_is_hooked_where_no_layer_is_asked_for(inputs):
    net, counts = Small(), []
    net.conv2.register_forward_hook(lambda *_: counts.append(hooked(net)))
    caught_in(net, inputs, [])
    assert counts == [2]


@pytest.mark.parametrize("build", [lambda: swin_v2_t(num_classes=3), lambda: vit_b_16(image_size=64, num_classes=3)])
def test_the_same_as_recognised_anew(build):
    torch.manual_seed(0)
    net, inputs = build().eval(), torch.randn(2, 3, 64, 64)
    names = [layer.name for layer in observe_layers(net, inputs[:1]).values() if layer.calls]
    anew = caught_in(net, inputs, names).arrangements
    again = caught_in(net, inputs, names).arrangements
    assert again == anew
    assert len({one.order for one in anew.values() if one is not None}) == 2


def test_layers_of_other_shapes_are_recognised_anew():
    torch.manual_seed(0)
    net, light = Pruning().eval(), torch.rand(2, 3, 8, 8)
    wanted = {"light": (8, 8), "dark": (4, 4)}
    for _ in range(2):
        for name, inputs in (("light", light), ("dark", -light)):
            caught = caught_in(net, inputs, ["act"])
            assert caught.arrangements["act"].grid == tuple(caught.activations["act"].shape[2:]) == wanted[name]
            assert caught.calls == {"act": 1} or set(caught.calls) == {"stem", "act", "head"}


def test_gradients_after_a_forward_that_was_run_anew(inputs):
    torch.manual_seed(0)
    net, light = Pruning().double().eval(), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    caught_in(net, light, ["act"])
    with undisturbed(net), capture(net, ["act"]) as caught:
        gradients = caught.gradients(net(-light)[:, 1])
    want = (net.head.weight[1] / 16)[:, None, None].expand(4, 4, 4)
    torch.testing.assert_close(gradients["act"][0], want.detach())
    assert hooked(net) == 0


def test_an_input_that_was_changed_is_not_run_again():
    net = Pruning(in_place=True).eval()
    light = torch.rand(1, 3, 8, 8)
    caught_in(net, light.clone(), ["act"])
    with pytest.raises(ExplanationError, match="changes its input in place"):
        caught_in(net, -light, ["act"])
    assert caught_in(net, -light, ["act"]).arrangements["act"].grid == (4, 4)


def test_another_layer_in_its_place_is_recognised_anew(inputs):
    net = Small()
    caught_in(net, inputs, ["relu2"])
    known = dict(_KEPT[net])
    net.relu2 = nn.GELU()
    caught_in(net, inputs, ["relu2"])
    assert len(_KEPT[net]) == len(known) + 1


def test_a_few_shapes_are_remembered_and_a_network_is_not_kept_alive():
    net = Small()
    for side in range(8, 8 + 2 * MOST_KEPT):
        caught_in(net, torch.randn(1, 3, side, side), ["relu2"])
    assert len(_KEPT[net]) == MOST_KEPT
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_map_asked_for_twice_is_the_same(small, inputs):
    first, second = (gradcam(small, inputs, 1, layer="relu2") for _ in range(2))
    assert all((a.values == b.values).all() for a, b in zip(first, second, strict=True))


def test_functional_layers_do_not_matter():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, inputs):
            return functional.adaptive_avg_pool2d(self.conv(inputs).relu_(), 1).flatten(1)

    model, inputs = Model(Bare(), mean=(0,) * 3, std=(1,) * 3, input_size=8), torch.randn(2, 3, 8, 8)
    first, second = (gradcam(model, inputs, 1, layer="conv") for _ in range(2))
    assert (first[0].values == second[0].values).all()
