"""Receptive fields by running, against the support of a linearised network's gradient and against known numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torchvision.models import get_model

from cnnviz.engine.layers import observe_layers
from cnnviz.errors import UsageError
from tests.support.linearised import support
from tests.support.networks import Small, Twice, model_of, swin

NETS = {
    "resnet18": ("maxpool", "layer1", "layer2", "layer3", "layer4"),
    "vgg11": ("features.5", "features.20"),
    "squeezenet1_0": ("features.3", "features.12"),
    "mobilenet_v2": ("features.6", "features.13", "features.18"),
}
SLOW_NETS = {
    "resnet50": ("layer1", "layer2", "layer3", "layer4"),
    "alexnet": ("features.2", "features.12"),
    "densenet121": ("features.denseblock1", "features.denseblock3"),
    "googlenet": ("inception3b", "inception4e", "inception5b"),
    "inception_v3": ("Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "shufflenet_v2_x1_0": ("stage2", "stage4", "conv5"),
    "mnasnet1_0": ("layers.9", "layers.16"),
    "efficientnet_b0": ("features.2", "features.4", "features.8"),
    "mobilenet_v3_large": ("features.3", "features.6", "features.16"),
    "regnet_y_400mf": ("trunk_output.block1", "trunk_output.block3"),
    "regnet_x_400mf": ("trunk_output.block2", "trunk_output.block4"),
    "resnext50_32x4d": ("layer2", "layer4"),
    "wide_resnet50_2": ("layer3",),
    "convnext_tiny": ("features.1", "features.4", "features.7"),
}
WITHOUT_SHAPE = {"googlenet", "inception_v3"}


def network(name):
    more = {"init_weights": False, "aux_logits": False} if name in WITHOUT_SHAPE else {}
    return get_model(name, weights=None, **more).eval()


def some_places(grid):
    rows, columns = grid
    return [(0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1), (rows // 3, columns - 1)]


def every_place(grid):
    return [(y, x) for y in range(grid[0]) for x in range(grid[1])]


def agree(net, names, size, places=some_places, order="NCHW"):
    """The fields of layers, after each was compared with the support of its units' gradients."""
    layers = observe_layers(net, torch.zeros(1, 3, *size, dtype=torch.float64))
    for name, boxes in support(net, names, size, places, order).items():
        field, grid = layers[name].field, layers[name].arrangement.grid
        assert field.kind in ("spatial", "gated"), (name, field)
        for place, box in zip(places(grid), boxes, strict=True):
            found = field.box(*place, *size)
            if box is None:
                assert found[0] == found[2] or found[1] == found[3], (name, place, found)
            else:
                assert found == box, (name, place, found, box)
    return layers


@pytest.mark.parametrize("name", NETS)
def test_the_bounding_box_of_the_support(name):
    agree(network(name).double(), NETS[name], (192, 224))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETS, *SLOW_NETS])
def test_the_bounding_box_of_the_support_on_large_inputs(name):
    size = 320 if name in ("densenet121", "convnext_tiny") else 640
    order = "NHWC" if name.startswith("swin") else "NCHW"
    agree(network(name).double(), (NETS | SLOW_NETS)[name], (size, size), order=order)


KNOWN = {
    ("resnet50", "layer1"): (35, 4, 0), ("resnet50", "layer2"): (91, 8, 0), ("resnet50", "layer3"): (267, 16, 0),
    ("resnet50", "layer4"): (427, 32, 0), ("resnet18", "layer1"): (43, 4, 0), ("resnet18", "layer4"): (435, 32, 0),
    ("vgg16", "features.4"): (6, 2, 0.5), ("vgg16", "features.9"): (16, 4, 1.5), ("vgg16", "features.16"): (44, 8, 3.5),
    ("vgg16", "features.23"): (100, 16, 7.5), ("vgg16", "features.30"): (212, 32, 15.5),
    ("squeezenet1_0", "features.12"): (155, 16, 17), ("mobilenet_v2", "features.0"): (3, 2, 0),
    ("mobilenet_v2", "features.6"): (59, 8, 0), ("mobilenet_v2", "features.13"): (267, 16, 0),
    ("mobilenet_v2", "features.18"): (491, 32, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({name for name, _ in KNOWN}))
def test_sizes_strides_and_offsets_do_not_depend_on_the_input(name):
    for size in (96, 224):
        layers = observe_layers(network(name), torch.zeros(1, 3, size, size))
        for (net, layer), (reach, stride, offset) in KNOWN.items():
            if net == name:
                field = layers[layer].field
                assert (field.size, field.stride, field.offset) == ((reach,) * 2, (stride,) * 2, (offset,) * 2)
                assert field.kind == "spatial"
                assert field.regular
                assert field.aligned


def test_three_small_kernels_see_as_much_as_a_large_one():
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))
    fields = [layer.field for layer in observe_layers(net, torch.zeros(1, 3, 20, 20)).values()]
    assert [field.size for field in fields] == [(3, 3), (5, 5), (7, 7)]
    assert fields[2].box(10, 2, 20, 20) == (7, 0, 14, 6)
    assert fields[2].centre(10, 2) == (10, 2)


KINDS = [
    ("mobilenet_v3_small", "features.12", "gated", "a factor that all places share"),
    ("resnet18", "avgpool", "whole", "global pooling"),
    ("resnet18", "fc", "whole", "global pooling"),
    ("vgg11", "classifier.0", "whole", "a linear layer over all places"),
    ("vit_b_32", "encoder.layers.encoder_layer_0", "whole", "attention"),
    ("vit_b_32", "encoder.layers.encoder_layer_0.ln_1", "unknown", "places and other tokens in a row"),
    ("swin_t", "features.1", "unknown", "attention in windows"),
]


@pytest.mark.parametrize(("name", "layer", "kind", "because"), KINDS)
def test_kinds_and_what_made_them(name, layer, kind, because):
    field = observe_layers(network(name), torch.zeros(1, 3, 224, 224))[layer].field
    assert (field.kind, field.because) == (kind, because)
    if kind != "gated":
        assert field.size is field.stride is field.offset is None
        assert field.box(0, 0, 224, 100) == (0, 0, 224, 100)


def on_canvas(x, top=0, left=0, size=24, step=1):
    """Written into a larger canvas, as detectors put pictures of several sizes into one batch."""
    canvas = x.new_zeros(len(x), x.shape[1], size, size)
    canvas[:, :, top : top + step * x.shape[2] : step, left : left + step * x.shape[3] : step].copy_(x)
    return canvas


def one_by_one(x, size=(20, 24)):
    """Torchvision's detectors: every picture of a list into its place in a batch."""
    canvas = x[0].new_full((len(x), x.shape[1], *size), 0.0)
    for number in range(len(canvas)):
        canvas[number, :, : x.shape[2], : x.shape[3]].copy_(x[number])
    return canvas


def into_a_part(x):
    out = torch.zeros_like(x)
    out[:, :, ::2] = x[:, :, ::2]
    return out


def turned_part(x):
    canvas = x.new_zeros(len(x), x.shape[1], 20, 20)
    canvas.transpose(2, 3)[:, :, 2:18, :16].copy_(x.transpose(2, 3))
    return canvas


def letterboxed(x):
    wide = functional.interpolate(x, size=(9, 18), mode="bilinear")
    return functional.pad(wide, (1, 2, 5, 4), value=0.5)


def framed(x):
    """Its own middle written over: what lies around it stays."""
    out = x.clone()
    out[:, :, 3:-3, :] = functional.avg_pool2d(x, (5, 1), 1, (2, 0))[:, :, 3:-3, :]
    return out


def by_views(x):
    """The view is taken before anything of the image is in the canvas, and read afterwards."""
    canvas = x.new_zeros(len(x), x.shape[1], 20, 24)
    view = canvas[:, :, 2:, 1:]
    canvas[:, :, 1:17, 3:19] = x
    return view * 2


def beside_zeros(x):
    zeros = x.new_zeros(len(x), x.shape[1], 3, x.shape[3])
    return torch.cat([zeros, x, zeros, zeros], dim=2)


def apart(x):
    between = x.new_zeros(len(x), x.shape[1], x.shape[2], 2)
    return torch.cat([x[..., :9], between, x[..., 9:]], dim=3)


def functional_canvas(x):
    """The same without writing, as exported graphs have it."""
    canvas = x.new_zeros(len(x), x.shape[1], 20, 24)
    part = torch.slice_scatter(canvas[:, :, 2:18], x, 3, 4, 20)
    return torch.slice_scatter(canvas, part, 2, 2, 18)


class Odd(nn.Module):
    """One operation between two convolutions."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.LazyConv2d(4, 3, padding=1)
        self.between = between

    def forward(self, x):
        return self.last(self.between(self.first(x)))


class Written(nn.Module):
    """Half of the channels moved by a place, the others written into the same tensor as they are."""

    def forward(self, x):
        out = torch.zeros_like(x)
        out[:, :2] = functional.pad(x[:, :2], (1, 0))[..., :-1]
        out[:, 2:] = x[:, 2:]
        return out


OPERATIONS = {
    "asymmetric padding": lambda x: functional.pad(x, (3, 0, 1, 4)),
    "cropping": lambda x: x[:, :, 2:-1, 1::2],
    "negative padding": lambda x: functional.pad(x, (-1, -2)),
    "reflection": lambda x: functional.pad(x, (3, 2, 1, 4), mode="reflect"),
    "replication": lambda x: functional.pad(x, (3, 2, 1, 4), mode="replicate"),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "nearest, uneven": lambda x: functional.interpolate(x, size=(13, 29)),
    "nearest-exact": lambda x: functional.interpolate(x, size=(13, 29), mode="nearest-exact"),
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, uneven": lambda x: functional.interpolate(x, size=(13, 29), mode="bilinear"),
    "bilinear, corners": lambda x: functional.interpolate(x, size=(17, 29), mode="bilinear", align_corners=True),
    "bicubic": lambda x: functional.interpolate(x, size=(13, 29), mode="bicubic"),
    "antialiased": lambda x: functional.interpolate(x, size=(5, 7), mode="bilinear", antialias=True),
    "area": lambda x: functional.interpolate(x, size=(5, 7), mode="area"),
    "adaptive": lambda x: functional.adaptive_avg_pool2d(x, (5, 7)),
    "adaptive, finer": lambda x: functional.adaptive_avg_pool2d(x, 20),
    "adaptive maximum": lambda x: functional.adaptive_max_pool2d(x, (5, 3)),
    "ceiling": lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    "dilated maximum": lambda x: functional.max_pool2d(x, 3, 2, padding=1, dilation=2),
    "transposed": lambda x: functional.conv_transpose2d(x, torch.ones(4, 4, 3, 4).double(), None, 2, (1, 2)),
    "flip": lambda x: x.flip(3),
    "both ways": lambda x: x + x.flip(2),
    "picked": lambda x: x[:, :, torch.tensor([0, 3, 4, 9])],
    "pixel shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "pixel unshuffle": lambda x: functional.pixel_unshuffle(x, 2),
    "to depth by slices": lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2]], 1),
    "to depth by views": lambda x: x.view(1, 4, 8, 2, 8, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 16, 8, 8),
    "channel shuffle": lambda x: x.view(1, 2, 2, 16, 16).transpose(1, 2).reshape(1, 4, 16, 16),
    "channels last": lambda x: functional.linear(x.permute(0, 2, 3, 1), torch.ones(4, 4).double()).permute(0, 3, 1, 2),
    "tokens": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).reshape(1, 4, 16, 16),
    "one row": lambda x: x + x.mean(dim=2, keepdim=True),
    "maps in a row": lambda x: torch.cat([x, x[:, :, :5]], dim=2),
    "split": lambda x: x.split(5, dim=3)[1],
    "chunks of channels": lambda x: x.chunk(2, dim=1)[0] * x.chunk(2, dim=1)[1],
    "stacked": lambda x: torch.stack([x, x.roll(1, dims=1)]).amax(0),
    "written": Written(),
    "canvas": on_canvas,
    "canvas, in its middle": lambda x: on_canvas(x, 3, 5),
    "canvas, every other place": lambda x: on_canvas(x, 1, 0, 32, 2),
    "canvas in place of zeros": lambda x: torch.zeros_like(x).__setitem__(..., x) or x + 0,
    "picture by picture": one_by_one,
    "picture by picture, all of one size": lambda x: one_by_one(x, x.shape[2:]),
    "letterbox": letterboxed,
    "written over its middle": framed,
    "a view of a canvas": by_views,
    "every other row written": into_a_part,
    "zeros above and below": beside_zeros,
    "zeros between": apart,
    "turned, into a turned part": turned_part,
    "scattered slices": functional_canvas,
    "a scattered channel": lambda x: torch.select_scatter(x, x[:, 0].roll(1, 0), 1, 2),
    "stacked last and added": lambda x: torch.stack([x, functional.avg_pool2d(x, 3, 1, 1)], dim=-1).sum(-1),
    "circular": lambda x: functional.pad(x, (2, 1, 0, 3), mode="circular"),
    "in place": lambda x: x.clone().add_(functional.avg_pool2d(x, 5, 1, 2)),
    "no gradient": lambda x: x + torch.zeros_like(x.flip(2)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    net = initialised(Odd(OPERATIONS[name]), 32)
    agree(net, ["last"], (32, 32), every_place)


def initialised(net, size):
    net.double()(torch.zeros(1, 3, size, size, dtype=torch.float64))
    return net


def mosaic(x):
    """Two corners of a canvas: places down and across no longer say what a unit sees."""
    canvas = x.new_zeros(len(x), x.shape[1], 32, 32)
    canvas[:, :, :16, :16] = x
    canvas[:, :, 16:, 16:] = x.flip(2)
    return canvas


UNKNOWN = {
    "turned": (lambda x: x.transpose(2, 3), "its layout"),
    "rolled": (lambda x: x.roll(2, dims=2), "roll"),
    "warped": (
        lambda x: functional.grid_sample(x, torch.rand(1, 16, 16, 2).double(), align_corners=False),
        "grid_sampler_2d",
    ),
    "every other row written": (lambda x: torch.zeros_like(x)[:, :, ::2].copy_(x[:, :, ::2]) + 0, ""),
    "a mosaic": (mosaic, "copy into a part"),
    "chosen by the image": (lambda x: x[:, :, x[0, 0, :, 0].argsort()], "places chosen by the image"),
    "blocks": (lambda x: x.view(1, 4, 4, 4, 16).mul(2).view(x.shape), "its layout"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_named(name):
    between, because = UNKNOWN[name]
    field = observe_layers(initialised(Odd(between), 32), torch.zeros(1, 3, 32, 32).double())["last"].field
    assert (field.kind, field.because) == ("unknown" if because else "spatial", because)


class Gated(nn.Module):
    """A map times, or plus, numbers made of the whole map."""

    def __init__(self, combine) -> None:
        super().__init__()
        self.conv, self.last, self.combine = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), combine

    def forward(self, x):
        x = self.conv(x)
        return self.last(self.combine(x, x.mean((2, 3), keepdim=True)))


SHARED = {
    "a factor": (lambda x, g: x * g.sigmoid(), "gated", "a factor that all places share"),
    "a divisor": (lambda x, g: x / (1 + g), "gated", "a factor that all places share"),
    "group norm": (lambda x, _: functional.group_norm(x, 2), "gated", "statistics of a norm"),
    "instance norm": (lambda x, _: functional.instance_norm(x), "gated", "statistics of a norm"),
    "norm of maps": (lambda x, _: functional.layer_norm(x, x.shape[1:]), "gated", "statistics of a norm"),
    "norm of channels": (
        lambda x, _: functional.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
        "spatial",
        "",
    ),
    "a term": (lambda x, g: x + g, "whole", "global pooling"),
    "channels": (lambda x, g: torch.cat([x[:, :3], g.expand_as(x)[:, :1]], 1), "whole", "global pooling"),
    "attention to places": (lambda x, _: x * x.mean(1, keepdim=True).sigmoid(), "spatial", ""),
    "softmax over places": (lambda x, _: x * x.flatten(2).softmax(2).view_as(x), "whole", "attention"),
    "weights of the image": (
        lambda x, g: functional.conv2d(x, g.view(4, 1, 1, 1).expand(4, 1, 3, 3), padding=1, groups=4),
        "gated",
        "weights made from the image",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_how_the_whole_image_comes_in(name):
    combine, kind, because = SHARED[name]
    field = observe_layers(Gated(combine), torch.zeros(1, 3, 16, 16))["last"].field
    assert (field.kind, field.because) == (kind, because)
    if kind == "gated":
        assert field.size == ((7, 7) if "weights" in because else (5, 5))


@st.composite
def stacks(draw):
    """A few layers with kernels, strides, dilation and padding of all kinds, some in branches.

    No branches are multiplied: a factor that sees padding only is 0 in the linearised network, and hides the other's.
    """
    layers, channels = [], 3
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 2))
        dilation, padding = draw(st.integers(1, 2)), draw(st.integers(0, 2))
        kind = draw(st.sampled_from(["conv", "conv", "max", "mean", "up", "transposed", "branches", "pad", "adaptive"]))
        made = {
            "conv": nn.Conv2d(channels, 4, (kernel, draw(st.integers(1, 3))), stride, padding, dilation),
            "max": nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode=draw(st.booleans())),
            "mean": nn.AvgPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode=draw(st.booleans())),
            "up": nn.Upsample(scale_factor=draw(st.sampled_from([2, 1.5])), mode=draw(st.sampled_from(MODES))),
            "transposed": nn.ConvTranspose2d(channels, 4, kernel, stride, min(padding, kernel - 1), stride - 1),
            "branches": Branches(channels, dilation, draw(st.sampled_from(["add", "cat"]))),
            "pad": nn.ZeroPad2d(tuple(draw(st.integers(-1, 3)) for _ in range(4))),
            "adaptive": nn.AdaptiveAvgPool2d((draw(st.integers(2, 9)), draw(st.integers(2, 9)))),
        }[kind]
        layers.append(made)
        channels = 4 if kind in ("conv", "transposed") else 8 if getattr(made, "how", "") == "cat" else channels
        channels = 4 if kind == "branches" and made.how != "cat" else channels
    return nn.Sequential(*layers)


MODES = ["nearest", "bilinear", "bicubic"]


class Branches(nn.Module):
    """A dilated convolution beside a small one."""

    def __init__(self, channels, dilation, how) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, 4, 3, padding=dilation, dilation=dilation)
        self.two, self.how = nn.Conv2d(channels, 4, 1), how

    def forward(self, x):
        one, two = self.one(x), self.two(x)
        return torch.cat([one, two], 1) if self.how == "cat" else one + two if self.how == "add" else one * two


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(net=stacks(), height=st.integers(9, 17), width=st.integers(9, 17))
def test_random_stacks(net, height, width):
    net.double()
    try:
        with torch.no_grad():
            net(torch.zeros(1, 3, height, width, dtype=torch.float64))
    except RuntimeError:
        return  # no room for a kernel
    names = [name for name, _ in net.named_children()]
    agree(net, names, (height, width), some_places)


def test_fields_of_calls_and_of_what_is_not_made_of_the_input():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    net = nn.Sequential(Small(), nn.Identity())
    net[0].middle = nn.Sequential(Constant(), nn.Conv2d(8, 8, 3))
    layers = observe_layers(net, torch.zeros(1, 3, 32, 32))
    assert layers["0.middle.0"].field is None
    assert layers["0.middle.1"].field is None
    assert layers["0.conv1"].field.size == (3, 3)
    calls = observe_layers(Twice(), torch.zeros(1, 3, 32, 32))["shared"].fields
    assert [field.size for field in calls] == [(14, 14), (22, 22)]


def test_a_batch_changes_nothing():
    one, two = (observe_layers(Small(), torch.zeros(count, 3, 32, 32))["conv2"].field for count in (1, 3))
    assert one == two


def test_branches_with_other_centres_are_said():
    net = Odd(lambda x: functional.avg_pool2d(x, 2) + functional.max_pool2d(x, 3, 2, padding=1))
    assert not observe_layers(initialised(net, 32), torch.zeros(1, 3, 32, 32).double())["last"].field.aligned


def test_blocks_of_a_map_lie_as_those_of_a_pool_do():
    ways = (lambda x: functional.avg_pool2d(x, 2), lambda x: x.view(1, 4, 8, 2, 8, 2).mean(dim=(3, 5)))
    pooled, viewed = (
        observe_layers(initialised(Odd(way), 32), torch.zeros(1, 3, 32, 32).double())["last"].field for way in ways
    )
    assert viewed == pooled


def test_boxes_of_inputs_of_another_size():
    field = observe_layers(Small(), torch.zeros(1, 3, 32, 32))["conv2"].field
    assert field.box(20, 0, 96, 96) == (75, 0, 89, 9)
    assert field.box(99, 0, 96, 96) == (96, 0, 96, 9)
    uneven = Odd(lambda x: functional.adaptive_avg_pool2d(x, 5))
    irregular = observe_layers(initialised(uneven, 32), torch.zeros(1, 3, 32, 32).double())["last"].field
    assert not irregular.regular
    with pytest.raises(UsageError, match="irregular"):
        irregular.box(0, 0, 64, 64)
    with pytest.raises(UsageError, match="no unit 5,0 among 5 x 5"):
        irregular.box(5, 0, 32, 32)


def test_transformers_patches_are_spatial():
    layers = model_of(swin()).layers
    assert layers["features.0.0"].field.kind == "spatial"
    assert layers["features.0"].arrangement.order == "NHWC"
    assert layers["features.0"].field.size == (2, 2)


class Grouped(nn.Module):
    """Tokens in groups of two by two: first all upper left ones, as Hiera has them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.group = nn.Conv2d(3, 8, 4, 4), nn.Identity()

    def forward(self, x):
        found = self.patch(x).reshape(len(x), 8, 4, 2, 4, 2)
        return self.group(found.permute(0, 3, 5, 2, 4, 1).reshape(len(x), 64, 8))


def test_tokens_in_groups_are_not_placed_as_if_they_lay_row_by_row():
    layers = observe_layers(Grouped(), torch.zeros(1, 3, 32, 32))
    assert layers["patch"].field.placed
    assert not layers["group"].field.placed
