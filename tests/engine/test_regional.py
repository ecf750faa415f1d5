"""Windows asked about alone: the answers of the whole network, whatever it is made of, at a fraction of the work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import cnnviz
from cnnviz import Model
from cnnviz.engine.windows import route as route_module
from cnnviz.engine.windows.bottlenecks import Bottleneck, Bottlenecks, UnitGrid
from cnnviz.engine.windows.regional import Regional, extents
from cnnviz.engine.windows.route import plan_route
from cnnviz.engine.windows.window import Windows
from cnnviz.methods.occlusion import windows as regions_module
from cnnviz.methods.occlusion.windows import INEXACT
from tests.support.asking import state_of
from tests.support.counting import flops
from tests.support.depth_one import CONVS, MEANS, POOLS, noise_of
from tests.support.networks import Small, model_of
from tests.support.torchvision_nets import noise, torchvision_net

SIDE = 115
FAMILIES = (
    "alexnet",
    "resnet18",
    "mobilenet_v2",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "mnasnet0_5",
    "regnet_x_400mf",
    "convnext_tiny",
)


@pytest.fixture(scope="module", autouse=True)
def _small_networks_too():
    """Stops cost nothing, so that routes through small networks have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(route_module, "STOP", 0)
        patch.setattr(route_module, "COPY", 0)
        patch.setattr(regions_module, "WORTH", 1)
        yield


def gates_of(model: Model, size: tuple[int, int]) -> list[str]:
    found = model.gates_on(size)
    return [bottleneck.name for bottleneck in found.layers] if found else []


def by_brute_force(model: Model, image: torch.Tensor, windows: Windows, target: int) -> torch.Tensor:
    """The map of the mean drop of a logit, one whole forward a window."""
    hidden = image * (1 - windows.masks(torch.arange(len(windows))).to(image))
    with torch.no_grad():
        clean, scores = model.module(image.clone())[0, target], model.module(hidden)[:, target]
    return windows.average((clean - scores)[None])[0]


def both_ways(model: Model, image: torch.Tensor, windows: Windows, numbers: torch.Tensor):
    """Logits with windows hidden, window by window and of whole pictures; and those of the unchanged picture."""
    size = tuple(image.shape[2:])
    route = plan_route(model.gates_on(size), *map(extents, windows.profiles))
    assert 0 < route.share < 1
    masks = windows.masks(numbers).to(image)
    with torch.no_grad():
        clean, whole = model.module(image.clone()), model.module(image * (1 - masks))
        regional = Regional(model.module, model.logits, route)
        assert torch.equal(regional.see(image), clean)
        return regional(image * (1 - masks), *windows.places(numbers)), whole, clean


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvisions_networks_answer_as_on_the_whole_picture(name):
    model = Model(torchvision_net(name, dtype=torch.float64), input_size=SIDE)
    image = noise(1, SIDE + 5, torch.float64)[..., 2 : 2 + SIDE, :-2]
    windows = Windows.over(tuple(image.shape[-2:]), 13, 11)
    some = torch.tensor([0, 4, 7, len(windows) // 2, len(windows) - 2, len(windows) - 1])
    found, whole, clean = both_ways(model, image, windows, some)
    assert (whole - clean).abs().amax(dim=1).min() > 1e-6 * clean.abs().max()
    assert (found - whole).abs().max() < 1e-11 * whole.abs().max()


class Normalising(nn.Module):
    """Writes into its input."""

    def forward(self, x):
        return x.sub_(0.5).mul_(2)


def after_conv(*parts: nn.Module) -> nn.Module:
    """Parts between a convolution to 6 channels and the mean of 6 channels."""
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), *parts, *head)


class Outside(nn.Module):
    """Its activations belong to no layer, and write."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 5)

    def forward(self, x):
        early = functional.silu(self.first(x), inplace=True)
        return self.fc(functional.silu(self.second(early), inplace=True).mean(dim=(2, 3)))


class Shared(nn.Module):
    """One activation runs before a bottleneck and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3, 2)
        self.activation, self.fc = nn.SiLU(), nn.Linear(6, 5)

    def forward(self, x):
        for conv in (self.first, self.second, self.third):
            x = self.activation(conv(x))
        return self.fc(x.mean(dim=(2, 3)))


SMALL = {
    "strides": lambda: after_conv(nn.Conv2d(6, 6, 5, 3, 2), nn.ReLU(), nn.Conv2d(6, 6, 3, 2)),
    "pools that end past the map": lambda: after_conv(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(6, 6, 3, 2)),
    "dilation": lambda: after_conv(nn.Conv2d(6, 6, 3, 2, 3, 2), nn.Conv2d(6, 6, 3, dilation=3)),
    "activations that write": lambda: after_conv(nn.SiLU(inplace=True), nn.Conv2d(6, 6, 3), nn.SiLU(inplace=True)),
    "activations that write, outside any layer": Outside,
    "an activation for all": Shared,
    "a shortcut": lambda: after_conv(Residual(nn.Conv2d(6, 6, 3, padding=1)), nn.Conv2d(6, 6, 3, 2)),
    "a network that writes into its input": lambda: nn.Sequential(Normalising(), after_conv(nn.Conv2d(6, 6, 3, 2))),
}


@pytest.mark.parametrize("soft", [0.0, 1.0], ids=["sharp", "soft"])
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_every_window_of_an_oblong_picture(make, soft):
    model = model_of(make().double().eval(), input_size=(31, 44))
    image = noise(1, 44, torch.float64)[..., :31, :]
    windows = Windows.over((31, 44), 7, 6, soft)
    expected = by_brute_force(model, image, windows, 2)
    found = cnnviz.occlusion(model, image, 2, window=7, stride=6, soft=soft, score="logit")
    assert found.checks == ()
    assert (torch.from_numpy(found[0].values) - expected).abs().max() <= 1e-6 * expected.abs().max()
    one, other, _ = both_ways(model, image, windows, torch.arange(len(windows)))
    assert (one - other).abs().max() < 1e-6 * other.abs().max()


def networks_of_places(places: int) -> dict[str, nn.Module]:
    conv, pool, mean = CONVS[places], POOLS[places], MEANS[places]
    head = lambda: (mean(1), nn.Flatten(), nn.Linear(6, 5))  # noqa: E731
    return {
        "strides and pools": nn.Sequential(
            conv(2, 6, 3, 1, 1),
            pool(3, 2, ceil_mode=True),
            nn.SiLU(inplace=True),
            conv(6, 6, 5, 2, 2),
            conv(6, 6, 3),
            *head(),
        ),
        "a shortcut": nn.Sequential(conv(2, 6, 3), Residual(conv(6, 6, 3, padding=1)), conv(6, 6, 3, 2), *head()),
        "dilation": nn.Sequential(conv(2, 6, 3, 2, 3, 2), conv(6, 6, 3, dilation=2), *head()),
    }


@pytest.mark.parametrize("soft", [0.0, 1.0], ids=["sharp", "soft"])
@pytest.mark.parametrize("name", ["strides and pools", "a shortcut", "dilation"])
@pytest.mark.parametrize(
    ("size", "side", "stride"),
    [((101,), 9, 7), ((19, 17, 21), (6, 5, 7), (6, 5, 6))],
    ids=["signal", "volume"],
)
def test_every_window_of_signals_and_volumes(name, size, side, stride, soft):
    torch.manual_seed(0)
    net = networks_of_places(len(size))[name].double().eval()
    model = Model(net, input_size=size, mean=(0.0,), std=(1.0,))
    image = noise_of(size)
    windows = Windows.over(size, side, stride, soft)
    one, other, clean = both_ways(model, image, windows, torch.arange(len(windows)))
    assert (other - clean).abs().amax(dim=1).min() > 1e-6 * clean.abs().max()
    assert (one - other).abs().max() < 1e-12 * other.abs().max()
    found = cnnviz.occlusion(model, image, 2, window=side, stride=stride, soft=soft, score="logit")
    expected = by_brute_force(model, image, windows, 2)
    assert found.checks == ()
    assert (torch.from_numpy(found[0].values) - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_the_work_of_an_occlusion_map_of_a_volume():
    net = nn.Sequential(
        nn.Conv3d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv3d(8, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, 1, 1), nn.ReLU(), nn.Conv3d(16, 16, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4),
    ).eval()  # fmt: skip
    model, image = Model(net, input_size=(48, 48, 48), channels=1), noise_of((48, 48, 48), 1).float()
    plain = flops(lambda: net(image))
    asked = flops(lambda: cnnviz.occlusion(model, image, 1, window=12, stride=12))
    assert asked / plain <= 0.4 * 65 + 7  # captum takes 65


PADDINGS = ("zeros", "reflect", "replicate", "circular")


@st.composite
def layers(draw):
    """How to make one layer from 6 channels to 6."""
    kernel, stride, padding = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    dilation, mode, yes = draw(st.integers(1, 2)), draw(st.sampled_from(PADDINGS)), draw(st.booleans())
    return draw(
        st.sampled_from(
            [
                lambda: nn.Conv2d(6, 6, kernel, stride, padding=padding, dilation=dilation),
                lambda: nn.Conv2d(6, 6, 3, padding=1, padding_mode=mode),
                lambda: nn.MaxPool2d(3, stride, padding=1, ceil_mode=yes),
                lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
                lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=yes),
                lambda: nn.ConvTranspose2d(6, 6, 4, 2, 1),
                lambda: nn.Upsample(scale_factor=2),
                lambda: nn.ReflectionPad2d(1),
                lambda: nn.InstanceNorm2d(6),
                lambda: nn.LocalResponseNorm(3),
                lambda: nn.ReLU(inplace=True),
                lambda: nn.Sequential(nn.BatchNorm2d(6), nn.SiLU(inplace=True)),
                lambda: Residual(nn.Conv2d(6, 6, 3, padding=1)),
                lambda: Residual(nn.AdaptiveAvgPool2d(1)),
            ]
        )
    )


class Residual(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x):
        return functional.relu(x + self.part(x))


@settings(deadline=None, max_examples=40)
@given(st.lists(layers(), min_size=1, max_size=6), st.integers(25, 36), st.integers(25, 36), st.integers(3, 9))
def test_whatever_a_network_is_made_of(parts, height, width, window):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 1, 1), *(part() for part in parts), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)
    )
    model = model_of(net.double().eval(), input_size=(height, width))
    image = noise(1, 36, torch.float64)[..., :height, :width]
    try:
        model.forward(image)
    except cnnviz.CnnvizError:
        return  # more pooling than picture
    windows = Windows.over((height, width), window, window - 1)
    expected = by_brute_force(model, image, windows, 2)
    found = cnnviz.occlusion(model, image, 2, window=window, stride=window - 1, score="logit")
    scale = expected.abs().max().clamp_min(1e-3)
    assert (torch.from_numpy(found[0].values) - expected).abs().max() <= 1e-6 * scale


class Forked(nn.Module):
    """The picture's mean goes around the second convolution, and no gradient shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 5)

    def forward(self, x):
        around = x.detach().mean(dim=(1, 2, 3), keepdim=True)
        return self.fc((self.second(self.first(x).relu()) + 5 * around).mean(dim=(2, 3)))


def check_noticed(net, *bottlenecks):
    """A network that parts of its maps do not stand for is asked as a whole, and the result says so."""
    model = model_of(net.double().eval())
    image = noise(1, 32, torch.float64)
    assert gates_of(model, (32, 32)) == ["", *bottlenecks]
    found = cnnviz.occlusion(model, image, 1, window=8, stride=8, score="logit")
    assert INEXACT in found.checks
    expected = by_brute_force(model, image, Windows.over((32, 32), 8, 8), 1)
    torch.testing.assert_close(torch.from_numpy(found[0].values).double(), expected, atol=1e-6, rtol=1e-5)


def test_a_way_around_the_gates_is_noticed_and_said():
    check_noticed(Forked(), "first", "second")


class Marked(nn.Module):
    """Some rows and columns of its map are cut out by their number."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.early, self.late, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 5)
        self.first, self.last = first, last

    def forward(self, x):
        x = self.early(x)
        down, across = (
            ((torch.arange(length) < self.first) | (torch.arange(length) > self.last)).to(x) for length in x.shape[2:]
        )
        return self.fc((self.late(x * down[:, None] * across).relu()).mean(dim=(2, 3)))


@pytest.mark.parametrize(("first", "last"), [(14, 15), (27, 29)], ids=["in the middle", "in the corner"])
def test_a_part_that_knows_where_it_lies_is_noticed_and_said(first, last):
    check_noticed(Marked(first, last), "early", "late")


@pytest.mark.parametrize(("limit", "value", "asked"), [(None, 0, True), ("WORTH", 0, False), ("FEWEST", 17, False)])
def test_a_route_that_saves_nothing_is_not_taken(limit, value, asked, monkeypatch):
    called = []
    answer = Regional.__call__
    monkeypatch.setattr(Regional, "__call__", lambda *given: called.append(1) or answer(*given))
    if limit:
        monkeypatch.setattr(regions_module, limit, value)
    found = cnnviz.occlusion(model_of(Small()), noise(1, 32), 1, window=8, stride=8)
    assert bool(called) == asked
    assert found.checks == ()


class Counting(nn.Module):
    """How many pictures there are is read off the input, and off the first layer's output."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.first, self.second, self.fc, self.late = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 5), late

    def forward(self, x):
        early = self.first(x)
        count = len(early) if self.late else len(x)
        return self.fc(self.second(early.relu()).mean(dim=(2, 3)).reshape(count, 6))


@pytest.mark.parametrize(("late", "said"), [(False, ()), (True, (INEXACT,))])
def test_how_many_pictures_there_are(late, said):
    model = model_of(Counting(late=late).double().eval())
    image = noise(1, 32, torch.float64)
    route = plan_route(model.gates_on((32, 32)), *map(extents, Windows.over((32, 32), 8, 8).profiles))
    assert [segment.stop.name for segment in route.segments] == ["first", "second"]
    found = cnnviz.occlusion(model, image, 1, window=8, stride=8, score="logit")
    assert found.checks == said
    expected = by_brute_force(model, image, Windows.over((32, 32), 8, 8), 1)
    torch.testing.assert_close(torch.from_numpy(found[0].values).double(), expected, atol=1e-6, rtol=1e-5)


def test_gates_are_what_every_way_leads_through():
    block = nn.Sequential(nn.Conv2d(3, 6, 3), Residual(nn.Conv2d(6, 6, 3, padding=1)), nn.MaxPool2d(2))
    net = nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()
    found = model_of(net).gates_on((32, 32))
    assert [bottleneck.name for bottleneck in found.layers] == ["", "0.0", "0.1", "0"]
    last = found.layers[-1]
    assert last.grids[0] == UnitGrid(first=-1, stride=2, size=6, count=15)
    assert last.work == 2 * 30 * 30 * 6 * 9 * (3 + 6)
    assert found.work == last.work + 2 * 6 * 5


class Exchanging(nn.Module):
    """Two rows of a map stand in each other's place."""

    def forward(self, x):
        rows = list(range(x.shape[2]))
        return x[:, :, [*rows[:3], rows[4], rows[3], *rows[5:]]]


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([nn.Conv2d(6, 6, 3), nn.InstanceNorm2d(6), nn.Conv2d(6, 6, 3)], ["", "0", "1"]),
        ([Residual(nn.AdaptiveAvgPool2d(1)), nn.Conv2d(6, 6, 3)], ["", "0"]),
        ([nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3)], ["", "2", "3"]),
        ([Exchanging(), nn.Conv2d(6, 6, 3)], ["", "0"]),
        ([Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)))], ["", "0", "1"]),
    ],
    ids=["statistics", "a mean added", "two units of one centre", "rows in each other's place", "beside a shortcut"],
)
def test_layers_that_see_more_lie_elsewhere_or_are_passed_by_are_no_gates(parts, names):
    assert gates_of(model_of(after_conv(*parts).eval()), (32, 32)) == names


class TwiceCalled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.again, self.fc = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(3, 5)

    def forward(self, x):
        return self.fc(self.again(self.conv(self.conv(x)).relu()).mean(dim=(2, 3)))


def test_a_layer_that_is_called_twice_is_no_gate():
    assert gates_of(model_of(TwiceCalled().eval()), (32, 32)) == ["", "again"]


class Decided(Small):
    """Values decide what is computed."""

    def forward(self, x):
        return super().forward(x if float(x.mean()) > -1e9 else -x)


def test_a_network_that_needs_values_or_is_hooked_has_no_gates():
    assert model_of(Decided().eval()).gates_on((32, 32)) is None
    hooked = Small().eval()
    hooked.conv2.register_forward_hook(lambda _part, _inputs, output: output + 1)
    assert model_of(hooked).gates_on((32, 32)) is None


def test_the_parts_of_one_convolution():
    pixel, conv = UnitGrid(0, 1, 1, 20), UnitGrid(-1, 1, 3, 20)
    bottlenecks = Bottlenecks(
        (Bottleneck("", 3, (pixel, pixel), 0), Bottleneck("conv", 8, (conv, conv), 10**12)), 2 * 10**12
    )
    (segment,) = plan_route(
        bottlenecks, extents(windows_at(20, [8, 0, 17])), extents(windows_at(20, [8, 0, 17]))
    ).segments
    # a window of 3 pixels is seen by 5 units, made from 7 pixels; at an end it is seen by 4, and the part is moved in
    assert (segment.extents[0].length, segment.extents[0].handed) == (7, 5)
    assert segment.extents[0].targets.tolist() == [7, 0, 15]
    assert segment.extents[0].starts.tolist() == [6, 0, 13]
    assert segment.extents[0].skipped.tolist() == [1, 0, 2]


def windows_at(length: int, starts: list[int]) -> torch.Tensor:
    place = torch.arange(length)
    return torch.stack([((place >= start) & (place < start + 3)).double() for start in starts])


@pytest.mark.parametrize(("name", "share"), [("resnet18", 0.78), ("squeezenet1_0", 0.55)])
def test_the_work_of_an_occlusion_map(name, share):
    model = Model(torchvision_net(name), input_size=128)
    image = noise(1, 128)
    plain = flops(lambda: model.module(image))
    asked = flops(lambda: cnnviz.occlusion(model, image, 3, window=18, stride=18, batch_size=25))
    around = 7  # the network twice, the copy twice on the unchanged picture and on two windows, which are compared
    assert asked / plain <= share * 65 + around


def test_several_pictures_and_targets_share_the_copy_and_the_network_is_left_alone():
    net = Small()
    model = model_of(net)
    inputs = noise(3, 32)
    before = state_of(net)
    together = cnnviz.occlusion(model, inputs, [0, 1, 2], window=8, stride=4)
    assert state_of(net) == before
    assert together.checks == ()
    for row in range(3):
        alone = cnnviz.occlusion(model, inputs[row : row + 1], row, window=8, stride=4)
        torch.testing.assert_close(torch.tensor(together[row].values), torch.tensor(alone[0].values))
