"""What every function contributes adds up to its change, in every spelling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from cnnviz.engine.secants.pairs import Pairs, paired
from cnnviz.engine.secants.rescale import rescale


def contributions(function, x, b, **how):
    """The multipliers' contributions of a function that gives one number for each row, and what it changes by."""
    leaf = x.clone().requires_grad_()
    with paired(rescale, leaf, b, **how) as pairs:
        value = function(leaf.clone())
    (multiplier,) = torch.autograd.grad(value.sum(), leaf)
    return multiplier * (x - b), value.detach() - pairs.twin(value), pairs


def drawn(*shape, seed=0):
    both = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, *shape)))
    return both[0], both[1]


W = torch.from_numpy(np.random.default_rng(5).normal(size=(6, 6)))
KERNEL = torch.from_numpy(np.random.default_rng(6).normal(size=(4, 4, 3, 3)))


def overwritten(x):
    x[:, ::2] = torch.tanh(x[:, 1::2])
    return x


def gathered(x):
    held = torch.zeros_like(x)
    held[:, 1:] = x[:, :-1].exp()
    held += x * x
    return held


def attended(x):
    q, k, v = (x @ W, (x @ W.T).sin(), x * 2)
    return F.scaled_dot_product_attention(q, k, v)


ROWS = {
    "relu": torch.relu, "relu in place": lambda x: F.relu(x, inplace=True), "relu6": lambda x: F.relu6(3 * x),
    "relu_": lambda x: x.relu_(), "leaky": lambda x: F.leaky_relu(x, 0.2), "gelu": F.gelu, "silu": F.silu,
    "x sigmoid(x)": lambda x: x * x.sigmoid(), "tanh": torch.tanh, "softplus": F.softplus, "mish": F.mish,
    "hardswish": F.hardswish, "clamp": lambda x: x.clamp(-0.5, 0.7), "clamp_": lambda x: x.clamp_(min=0),
    "abs": torch.abs, "exp": torch.exp, "square": lambda x: x**2, "cube": lambda x: x.pow(3),
    "root": lambda x: (x.abs() + 0.1).sqrt(), "2 ** x": lambda x: 2**x, "1 / x": lambda x: 1 / (3 + x.abs()),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)), "sin": torch.sin,
    "product": lambda x: x * (x @ W), "product in place": lambda x: (x + 0).mul_(x @ W),
    "product of itself in place": lambda x: x.__imul__(x),
    "quotient": lambda x: x / (2 + (x @ W).abs()), "quotient in place": lambda x: x.div_(2 + (x @ W).abs()),
    "matmul": lambda x: x @ (x @ W).T, "bmm": lambda x: torch.bmm(x[None], (x @ W).T[None]),
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x @ W), "linear": lambda x: F.linear(x, x),
    "three in einsum": lambda x: torch.einsum("ij,ij,ij->i", x, x @ W, x.tanh()),
    "addmm": lambda x: torch.addmm(x @ W, x @ W, W), "addmm of all": lambda x: torch.addmm(x @ x.T, x, x.T),
    "softmax": lambda x: x.softmax(-1) * torch.arange(6.0), "log_softmax": lambda x: F.log_softmax(x, dim=1),
    "layer_norm": lambda x: F.layer_norm(x, (6,), W[0], W[1]), "rms_norm": lambda x: F.rms_norm(x, (6,), W[0]),
    "normalize": lambda x: F.normalize(x, dim=1) @ W, "glu": lambda x: F.glu(x, 1),
    "attention": attended, "max": lambda x: x.max(), "max dim": lambda x: x.max(dim=1).values,
    "min keepdim": lambda x: x.min(1, keepdim=True)[0], "amax": lambda x: x.amax((0, 1)), "amin": lambda x: x.amin(1),
    "maximum": lambda x: torch.maximum(x, x @ W), "minimum": lambda x: torch.minimum(x, x @ W),
    "maximum with a constant": lambda x: torch.maximum(x, torch.full_like(x, 0.2)),
    "max of two": lambda x: torch.max(x, x.flip(1)),
    "sum, mean, cumsum": lambda x: x.sum(1) + x.mean() + x.cumsum(1)[:, 3], "variance": lambda x: x.var(dim=1),
    "std": lambda x: x.std(1), "norm": lambda x: x.norm(dim=1), "logsumexp": lambda x: x.logsumexp(1),
    "cat, split": lambda x: torch.cat([each.relu() for each in x.split(2, 1)], 1),
    "stack": lambda x: torch.stack([x, x.exp()]),
    "overwritten": overwritten, "gathered": gathered, "transposed": lambda x: x.T.relu().T @ W,
    "rolled, padded": lambda x: F.pad(x.roll(1, 1), (1, 1), value=2.0).tanh(), "logsigmoid": F.logsigmoid,
    "lerp": lambda x: torch.lerp(x, x @ W, 0.3), "addcmul": lambda x: torch.addcmul(x, x, x @ W),
    "cumprod": lambda x: x.cumprod(1), "softsign": F.softsign,
    "a scaled sum": lambda x: torch.add(x, x.sinh(), alpha=2),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_contributions_of_numbers_add_up(name):
    x, b = drawn(4, 6)
    found, change, pairs = contributions(lambda held: ROWS[name](held).sum(), x, b)
    assert abs(float(found.sum() - change)) <= (1e-3 if pairs.pathwise else 1e-9) * abs(float(change))
    assert float(change) != 0
    assert not pairs.lost


MAPS = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2), "overlapping": lambda x: F.max_pool2d(x, 3, 1, padding=1),
    "a module's": nn.MaxPool2d(3, 2, ceil_mode=True),
    "with places": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 3), "average": lambda x: F.avg_pool2d(x, 2).exp(),
    "group_norm": lambda x: F.group_norm(x, 2, W[0, :4], W[1, :4]),
    "instance_norm": lambda x: F.instance_norm(x).exp(),
    "batch_norm": lambda x: F.batch_norm(x, W[0, :4], W[1, :4].abs(), W[2, :4], W[3, :4]).relu(),
    "response norm": lambda x: F.local_response_norm(x, 3),
    "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "conv": lambda x: F.conv2d(x.relu(), KERNEL), "a kernel from the picture": lambda x: F.conv2d(x, KERNEL * x.mean()),
    "interpolate": lambda x: F.interpolate(x.tanh(), scale_factor=2, mode="bilinear"),
    "unfold": lambda x: F.unfold(x, 3).relu(),
    "dense": lambda x: torch.cat([x, F.conv2d(x, KERNEL, padding=1).relu()], 1).amax((2, 3)),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2).exp(),
    "dropout": lambda x: F.dropout(x, 0.5, training=False).relu(),
    "softmax over channels": lambda x: F.softmax(x, 1) * x,
    "channel maximum": lambda x: x.max(dim=1, keepdim=True).values * x,
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_contributions_of_maps_add_up(name):
    x, b = drawn(2, 4, 7, 7)
    found, change, pairs = contributions(lambda held: MAPS[name](held).sum(), x, b)
    assert abs(float(found.sum() - change)) <= (1e-4 if pairs.pathwise else 1e-9) * abs(float(change))
    assert not pairs.lost


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_contributions_through_attention_heads_add_up(first, causal):
    torch.manual_seed(1)
    net = nn.MultiheadAttention(6, 2, batch_first=first).double().eval()
    x, b = drawn(3, 5, 6)
    mask = nn.Transformer.generate_square_subsequent_mask(5 if first else 3).double() if causal else None
    found, change, _ = contributions(lambda held: net(held, held, held, attn_mask=mask)[0].square().sum(), x, b)
    assert abs(float(found.sum() - change)) <= 1e-9 * abs(float(change))
    with torch.no_grad():
        plain = [float(net(each, each, each, attn_mask=mask)[0].square().sum()) for each in (x, b)]
    assert float(change) == pytest.approx(plain[0] - plain[1], rel=1e-9)


@pytest.mark.parametrize("given", [{}, {"is_causal": True}, {"attn_mask": torch.rand(5, 5) > 0.4}, {"scale": 0.3}])
def test_attention_is_what_torch_computes(given):
    x, b = drawn(2, 3, 5, 4)
    if "attn_mask" in given:
        given["attn_mask"][:, 0] = True
    found, change, _ = contributions(
        lambda held: F.scaled_dot_product_attention(held, held.sin(), held, **given).sum(), x, b
    )
    plain = [F.scaled_dot_product_attention(each, each.sin(), each, **given).sum() for each in (x, b)]
    assert float(change) == pytest.approx(float(plain[0] - plain[1]), rel=1e-9)
    assert float(found.sum()) == pytest.approx(float(change), rel=1e-9)


def test_the_larger_of_two_shares_between_winners():
    x, b = torch.tensor([[3.0, 1.0]], dtype=torch.float64), torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    found, change, _ = contributions(lambda held: held.amax(1), x, b)
    # 3 - 2 = share * (3 - 0) + (1 - share) * (1 - 2), so the share is 1/2
    assert found.tolist() == [[1.5, -0.5]]
    assert float(change) == 1


def test_a_product_shares_by_means():
    x, b = torch.tensor([[3.0, 5.0]], dtype=torch.float64), torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found, change, _ = contributions(lambda held: held[:, 0] * held[:, 1], x, b)
    assert found.tolist() == [[2 * 3.5, 3 * 2.0]]
    assert float(change) == 13


def test_a_softmax_is_exp_times_reciprocal():
    x, b = torch.tensor([[1.0, 0.5]], dtype=torch.float64), torch.tensor([[-0.5, 0.0]], dtype=torch.float64)
    found, _, _ = contributions(lambda held: held.softmax(1)[:, 0], x, b)
    (p, q), (r, s) = (x[0] - 1).exp(), (b[0] - 1).exp()
    one, other = p + q, r + s
    slope = (1 / one - 1 / other) / (one - other)  # of the reciprocal, which both exponentials move
    by_first = (1 / one + 1 / other) / 2 * (p - r) + (p + r) / 2 * slope * (p - r)
    by_second = (p + r) / 2 * slope * (q - s)
    assert found[0].tolist() == pytest.approx([float(by_first), float(by_second)], rel=1e-12)


def test_a_norm_of_a_baseline_without_variance_does_not_explode():
    x = drawn(1, 6)[0]
    found, change, pairs = contributions(lambda held: F.layer_norm(held, (6,))[:, 0], x, torch.ones_like(x))
    assert pairs.counts["norm of a baseline without variance"] == 1
    assert float(found.sum()) == pytest.approx(float(change), rel=1e-9)
    assert float(found.abs().max()) < 5


def test_norms_with_a_scale_that_is_held_are_the_gradient_of_that():
    x, b = drawn(1, 6)
    found, _, _ = contributions(lambda held: F.layer_norm(held, (6,))[:, 0], x, b, exact=False)
    root = float((x.var(unbiased=False) + 1e-5).rsqrt())
    centring = torch.eye(6, dtype=x.dtype)[0] - 1 / 6
    assert torch.allclose(found, root * centring * (x - b))


def test_the_forward_is_the_networks_bit_for_bit_where_nothing_is_taken_apart():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.SiLU(), nn.Flatten()
    )
    x, b = torch.rand(2, 3, 12, 12), torch.zeros(2, 3, 12, 12)
    with paired(rescale, leaf := x.clone().requires_grad_(), b) as pairs:
        value = net(leaf)
    assert torch.equal(value, net(x))
    assert torch.equal(pairs.twin(value), net(b))


def test_what_is_scripted_is_lost_and_said():
    x, b = drawn(2, 3)
    leaf = x.clone().requires_grad_()
    scripted = torch.jit.trace(torch.exp, x)
    with paired(rescale, leaf, b) as pairs:
        value = scripted(leaf).sin()
    assert not pairs.has(value)
    assert pairs.lost["sin"] == 1


def test_functions_without_a_rule_are_named():
    x, b = drawn(2, 3)
    _, _, pairs = contributions(lambda held: held.cumprod(1), x, b)
    assert pairs.pathwise == {"cumprod": 1}


def test_gradients_are_ordinary_again_outside():
    leaf = torch.ones(1, 2).requires_grad_()
    with paired(rescale, leaf, torch.zeros(1, 2)):
        pass
    (found,) = torch.autograd.grad(leaf.exp().sum(), leaf)
    assert torch.equal(found, leaf.detach().exp())
    assert isinstance(Pairs(rescale), Pairs)
