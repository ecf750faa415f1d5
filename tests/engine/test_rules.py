"""Guided backpropagation and deconvnet hold however an activation function is spelled; references are by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnviz.engine.rules import ruled, unseen_parts
from cnnviz.errors import ExplanationError

ZERO = torch.zeros((), dtype=torch.float64)
aten = torch.ops.aten

RECTIFIERS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "F.relu": functional.relu,
    "F.relu in place": lambda x: functional.relu(x, True),  # noqa: FBT003
    "F.relu_": functional.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "by name": lambda x: functional.relu(input=x),
    "clamp": lambda x: x.clamp(min=0),
    "clamp by place": lambda x: torch.clamp(x, 0),
    "clamp in place": lambda x: x.clamp_(min=0.0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: torch.clip(x, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum turned": lambda x: torch.maximum(ZERO, x),
    "max": lambda x: torch.max(x, ZERO),
    "threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    "threshold module": nn.Threshold(0.0, 0.0),
    "aten.relu": aten.relu.default,
    "aten.relu_": aten.relu_.default,
    "aten packet": aten.relu,
    "aten.clamp": lambda x: aten.clamp.default(x, 0),
    "aten.clamp_min": lambda x: aten.clamp_min.default(x, 0),
}
CAPPED = {
    "relu6 module": nn.ReLU6(),
    "relu6 in place": nn.ReLU6(inplace=True),
    "F.relu6": functional.relu6,
    "hardtanh": lambda x: functional.hardtanh(x, 0.0, 6.0),
    "hardtanh in place": lambda x: functional.hardtanh_(x, 0.0, 6.0),
    "clamp": lambda x: x.clamp(0, 6),
    "aten.hardtanh": lambda x: aten.hardtanh.default(x, 0.0, 6.0),
    "aten.hardtanh_": lambda x: aten.hardtanh_.default(x, 0.0, 6.0),
}
SLOPED = {
    "leaky relu": functional.leaky_relu,
    "leaky relu in place": nn.LeakyReLU(0.2, inplace=True),
    "elu": functional.elu,
    "elu in place": nn.ELU(0.5, inplace=True),
    "celu": functional.celu,
    "selu": functional.selu,
    "rrelu": nn.RReLU().eval(),
    "silu": functional.silu,
    "silu in place": nn.SiLU(inplace=True),
    "aten.silu_": aten.silu_.default,
    "gelu": functional.gelu,
    "gelu by tanh": nn.GELU(approximate="tanh"),
    "aten.gelu": aten.gelu.default,
    "hardswish": functional.hardswish,
    "hardswish in place": nn.Hardswish(inplace=True),
    "aten.hardswish_": aten.hardswish_.default,
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "prelu": nn.PReLU(init=0.3).double(),
    "threshold at 1": lambda x: functional.threshold(x, 1.0, 0.0),
    "x * sigmoid(x)": lambda x: x * torch.sigmoid(x),
    "sigmoid(x) * x": lambda x: x.sigmoid() * x,
    "x * hardsigmoid(x)": lambda x: x * functional.hardsigmoid(x),
    "x *= sigmoid(x)": lambda x: x.mul_(x.sigmoid()),
}


def line():
    return torch.linspace(-8, 8, 41, dtype=torch.float64).requires_grad_()


def incoming():
    return torch.randn(41, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def back(function, rule=None, x=None):
    """What comes back through a function, and the forward; on a copy, so that writing in place is allowed."""
    leaf = line() if x is None else x
    if rule is None:
        y = function(leaf * 1)
    else:
        with ruled(rule):
            y = function(leaf * 1)
    return torch.autograd.grad(y, leaf, incoming())[0], y.detach()


@pytest.mark.parametrize("spelled", RECTIFIERS.values(), ids=RECTIFIERS)
def test_rectifiers(spelled):
    x, above = line().detach(), incoming().clamp(min=0)
    assert torch.equal(back(spelled, "deconvnet")[0], above)
    assert torch.equal(back(spelled, "guided")[0], above * (x > 0))
    assert torch.equal(back(spelled, "guided")[1], x.clamp(min=0))


@pytest.mark.parametrize("spelled", CAPPED.values(), ids=CAPPED)
def test_a_ceiling_lets_the_most_active_units_through(spelled):
    x, above = line().detach(), incoming().clamp(min=0)
    assert torch.equal(back(spelled, "deconvnet")[0], above)
    assert torch.equal(back(spelled, "guided")[0], above * (x > 0))
    assert torch.equal(back(spelled, "guided")[1], x.clamp(0, 6))


@pytest.mark.parametrize("spelled", SLOPED.values(), ids=SLOPED)
def test_functions_with_slopes_of_their_own(spelled):
    leaf = line()
    (slope,) = torch.autograd.grad(spelled(leaf * 1).sum(), leaf)
    above, plain = incoming().clamp(min=0), back(spelled)[1]
    for rule, expected in (("deconvnet", above), ("guided", above * slope.clamp(min=0))):
        found, forward = back(spelled, rule)
        assert torch.allclose(found, expected, rtol=1e-14, atol=0)
        assert torch.equal(forward, plain)


def test_derivatives_by_hand():
    x, above = line().detach(), incoming().clamp(min=0)
    gate = 1 / (1 + (-x).exp())
    assert torch.allclose(
        back(functional.silu, "guided")[0], above * (gate * (1 + x * (1 - gate))).clamp(min=0), atol=1e-12
    )
    slope = torch.where(x < -3, 0.0, torch.where(x > 3, 1.0, (2 * x + 3) / 6)).clamp(min=0)
    inside = (x.abs() - 3).abs() > 1e-9
    assert torch.allclose(back(functional.hardswish, "guided")[0][inside], (above * slope)[inside], atol=1e-12)


LEFT = {
    "a clamp elsewhere": lambda x: x.clamp(min=1e-3),
    "a clamp from above": lambda x: x.clamp(max=0),
    "hardtanh around zero": functional.hardtanh,
    "a final sigmoid": torch.sigmoid,
    "a maximum of two": lambda x: torch.maximum(x, -x),
    "writing by mask": lambda x: x.masked_fill(x < 0, 0),
}


@pytest.mark.parametrize("function", LEFT.values(), ids=LEFT)
def test_what_is_no_rectifier_is_left_alone_and_refused(function):
    with pytest.raises(ExplanationError, match="touched nothing"):
        back(function, "guided")
    leaf = line()
    with ruled("guided", needed=False) as coverage:
        y = function(leaf * 1)
    assert not coverage.activations
    assert torch.equal(torch.autograd.grad(y, leaf, incoming())[0], back(function)[0])


def test_a_result_that_is_discarded():
    def discarding(x):
        x.relu_()
        return 3 * x

    expected = (3 * incoming()).clamp(min=0) * (line().detach() > 0)
    assert torch.equal(back(discarding, "guided")[0], expected)


def test_in_place_on_part_of_a_tensor():
    def partly(x):
        x[:20].relu_()
        return x

    x, above = line().detach(), incoming()
    expected = torch.cat([above[:20].clamp(min=0) * (x[:20] > 0), above[20:]])
    assert torch.equal(back(partly, "guided")[0], expected)


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_a_residual_before_the_activation(rule):
    """``h = A x; y = C (B relu(h) + h)``: the way past the ReLU is not rectified."""
    a, b, c = (torch.randn(5, 5, dtype=torch.float64) for _ in range(3))
    x, above = torch.randn(5, dtype=torch.float64).requires_grad_(), torch.randn(5, dtype=torch.float64)
    with ruled(rule) as coverage:
        h = a @ x
        y = c @ (b @ functional.relu(h) + h)
    (found,) = torch.autograd.grad(y, x, above)
    inner = c.T @ above
    passed = (b.T @ inner).clamp(min=0) * ((h.detach() > 0) if rule == "guided" else 1)
    assert torch.allclose(found, a.T @ (passed + inner), atol=1e-12)
    assert coverage.activations["relu"] == 1


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize("inplace", [False, True])
def test_one_module_on_parallel_branches(rule, inplace):
    relu = nn.ReLU(inplace=inplace)
    a, b, c, d = (torch.randn(5, 5, dtype=torch.float64) for _ in range(4))
    x, above = torch.randn(5, dtype=torch.float64).requires_grad_(), torch.randn(5, dtype=torch.float64)
    with ruled(rule) as coverage:
        y = c @ relu(a @ x) + d @ relu(b @ x)
    (found,) = torch.autograd.grad(y, x, above)
    expected = torch.zeros(5, dtype=torch.float64)
    for below, higher in ((a, c), (b, d)):
        active = ((below @ x).detach() > 0) if rule == "guided" else 1
        expected += below.T @ ((higher.T @ above).clamp(min=0) * active)
    assert torch.allclose(found, expected, atol=1e-12)
    assert coverage.activations["relu"] == 2


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize(
    ("function", "slope"),
    [(functional.relu, lambda x: 1.0 * (x > 0)), (functional.relu6, lambda x: 1.0 * (x > 0)),
     (functional.silu, lambda x: x.sigmoid() * (1 + x * (1 - x.sigmoid()))),
     (functional.hardswish, lambda x: ((2 * x + 3) / 6) * (x.abs() < 3) + 1.0 * (x >= 3))],
    ids=["relu", "relu6", "silu", "hardswish"],
)  # fmt: skip
def test_two_layers_by_hand(rule, function, slope):
    a, b, c = (4 * torch.randn(6, 6, dtype=torch.float64) for _ in range(3))
    x, above = torch.randn(6, dtype=torch.float64).requires_grad_(), torch.randn(6, dtype=torch.float64)
    with ruled(rule):
        h = a @ x
        k = b @ function(h)
        y = c @ function(k)
    (found,) = torch.autograd.grad(y, x, above)
    for held, weights in ((k, c), (h, b)):
        above = (weights.T @ above).clamp(min=0)
        above = above * slope(held.detach()).clamp(min=0) if rule == "guided" else above
    assert torch.allclose(found, a.T @ above, atol=1e-10)


def squeezed(x, weights, gate):
    """Squeeze and excitation written the usual way, with the gate reshaped on the way."""
    share = gate(weights @ x.mean(dim=1)).view(len(x), 1)
    return x * share.expand_as(x)


@pytest.mark.parametrize("gate", [torch.sigmoid, functional.hardsigmoid, nn.Sigmoid(), lambda x: x.softmax(dim=0)])
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_gates_are_constants_at_the_product(rule, gate):
    weights = torch.randn(4, 4, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64).requires_grad_()
    above = torch.randn(4, 6, dtype=torch.float64)
    with ruled(rule) as coverage:
        h = functional.relu(x)
        y = squeezed(h, weights, gate)
    (found,) = torch.autograd.grad(y, x, above)
    share = gate(weights @ h.detach().mean(dim=1))[:, None]
    expected = (above * share).clamp(min=0) * ((x.detach() > 0) if rule == "guided" else 1)
    assert torch.allclose(found, expected, atol=1e-12)
    assert coverage.gates == 1
    assert str(coverage) == f"{rule} rule applied to relu x1, 1 gates held constant"


@pytest.mark.parametrize("product", [lambda v, s: s @ v, lambda v, s: torch.matmul(s, v), lambda v, s: 2 * s @ v])
def test_attention_is_a_gate(product):
    x = torch.randn(5, 5, dtype=torch.float64).requires_grad_()
    with ruled("guided") as coverage:
        y = product(functional.relu(x), (x @ x.T).softmax(dim=1))
    (found,) = torch.autograd.grad(y.sum(), x)
    share = (x @ x.T).softmax(dim=1).detach()
    once = product(torch.eye(5, dtype=torch.float64), share)
    assert torch.allclose(found, once.T @ torch.ones_like(share) * (x.detach() > 0), atol=1e-12)
    assert coverage.gates == 1


def test_written_swish_is_swish():
    for rule in ("guided", "deconvnet"):
        written, own = back(lambda x: x * torch.sigmoid(x), rule)[0], back(functional.silu, rule)[0]
        assert torch.allclose(written, own, atol=1e-12)


def test_what_keeps_its_own_derivative_is_named():
    x = line()
    with ruled("guided") as coverage:
        torch.tanh(functional.relu(x))
    assert str(coverage) == "guided rule applied to relu x1, tanh x1 left with their own derivative"


def test_nothing_is_counted_where_no_gradient_goes():
    x = line()
    with ruled("guided", needed=False) as coverage:
        functional.relu(x.detach())
        with torch.no_grad():
            functional.relu(x)
    assert not coverage.activations


def test_an_activation_may_be_overwritten_later():
    def written(x):
        y = functional.silu(x)
        x.add_(1)
        y += 1
        return y

    slope = back(functional.silu, "guided")[0]
    assert torch.equal(back(written, "guided")[0], slope)


def test_the_rule_ends_with_its_block_also_after_an_exception():
    with pytest.raises(ZeroDivisionError), ruled("guided"):
        raise ZeroDivisionError
    assert torch.equal(back(functional.relu)[0], incoming() * (line().detach() > 0))


def test_the_backward_may_run_inside():
    leaf = line()
    with ruled("guided"):
        (found,) = torch.autograd.grad(functional.silu(leaf), leaf, incoming())
    assert torch.equal(found, back(functional.silu, "guided")[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_compiled_and_scripted_parts_are_named():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), torch.jit.script(nn.ReLU()))
    assert unseen_parts(net) == ["1"]
    assert unseen_parts(nn.Sequential(nn.ReLU())) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_forward_is_the_same_bit_for_bit(dtype):
    x = torch.randn(2, 8, 6, 6, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    for function in (
        functional.relu,
        functional.silu,
        functional.gelu,
        functional.hardswish,
        functional.elu,
        nn.ReLU6(inplace=True),
        lambda x: x * x.sigmoid(),
    ):
        plain = function(x * 1)
        for rule in ("guided", "deconvnet"):
            with ruled(rule):
                held = function(x * 1)
            assert torch.equal(plain, held)
            assert plain.stride() == held.stride()


def test_a_unit_at_exactly_zero_is_closed():
    for function in (functional.relu, functional.relu6):
        x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        with ruled("guided"):
            y = function(x * 1)
        assert not torch.autograd.grad(y.sum(), x)[0].any()
