"""Targets on logits: each image's score."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import cnnviz
from cnnviz import gradcam
from cnnviz.core.aim import Direction
from cnnviz.core.target import ClassTarget, CustomTarget, Difference, Finer, NoTarget, TopClass, Unit
from cnnviz.engine.capture import capture
from cnnviz.engine.scores.score import score, settle, watched_layers
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError, TargetError
from cnnviz.methods.cams.probe import _find_rivals
from tests.support.networks import LABELS, Encoded, Small, model_of

LOGITS = torch.tensor([[1.0, 5.0, 2.0, 0.0, -1.0], [3.0, 0.0, 4.0, 9.0, 2.0]])
CAT, DOG = ClassTarget(0, "cat"), ClassTarget(1, "dog")


def test_the_top_class_is_each_images_own():
    assert settle([TopClass(), TopClass()], LOGITS, LABELS) == [DOG, ClassTarget(3, "fish")]
    assert settle([CAT, TopClass()], LOGITS, None) == [CAT, ClassTarget(3)]
    finer = settle([Finer(TopClass()), Finer(CAT)], LOGITS, LABELS)
    assert finer == [Finer(DOG, others=(2, 0, 3)), Finer(CAT, others=(2, 4, 1))]


def test_of_equal_logits_the_first_is_the_top_class():
    assert settle([TopClass()], torch.zeros(1, 5), None) == [ClassTarget(0)]


@pytest.mark.parametrize("target", [ClassTarget(5), ClassTarget(-1), Difference(CAT, ClassTarget(9))])
def test_classes_that_there_are_not(target):
    with pytest.raises(TargetError, match=r"no class (5|-1|9); this network's classes are 0 to 4"):
        settle([target], LOGITS[:1], LABELS)


def test_labels_that_do_not_fit_the_classes():
    with pytest.raises(TargetError, match="5 classes but 3 labels"):
        settle([DOG], LOGITS[:1], LABELS[:3])


def test_scores_of_several_kinds_in_one_batch_keep_their_order():
    def total(logits):
        return logits.sum(dim=1)

    targets = [CustomTarget(total), CAT, Difference(DOG, CAT), CAT, CustomTarget(total)]
    logits = torch.arange(25.0).reshape(5, 5)
    assert score(targets, logits).tolist() == [10.0, 5.0, 1.0, 15.0, 110.0]


def test_a_class_against_those_like_it():
    # For the first image's cat (logit 1) the two nearest are fish (0) and bird (2).
    assert score([Finer(CAT, strength=0.5, rivals=2)], LOGITS[:1]).tolist() == [1 - 0.5 * (0 + 2) / 2]
    assert score([Finer(CAT)], LOGITS[:1, :1]).tolist() == [1.0]


def test_an_unsettled_target_has_no_score():
    with pytest.raises(TargetError, match="before it is settled"):
        score([TopClass()], LOGITS[:1])


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda logits: logits.sum(), r"shape \(\)"),
        (lambda logits: logits, r"shape \(2, 5\)"),
        (lambda logits: logits[:, :1], r"shape \(2, 1\)"),
        (lambda logits: 3.0, "float"),
        (lambda logits: logits[:, 0].numpy(), "ndarray"),
    ],
)
def test_functions_must_give_a_score_for_each_image(function, got):
    with pytest.raises(TargetError, match=rf"'<lambda>' must return a score for each image, shape \(2,\); got {got}"):
        score([CustomTarget(function)] * 2, LOGITS)


def test_a_function_that_has_no_hash(small, inputs):
    @dataclass
    class Margin:
        first: int
        second: int

        def __call__(self, logits):
            return logits[:, self.first] - logits[:, self.second]

    assert (gradcam(small, inputs, Margin(1, 0)).values == gradcam(small, inputs, "dog - cat").values).all()


def test_a_function_that_cuts_the_gradient_is_explained(small, inputs):
    with pytest.raises(ExplanationError, match="No gradient of the target reaches"):
        gradcam(small, inputs, lambda logits: logits[:, 0].detach())


@pytest.mark.parametrize("targets", [["dog"], ["dog"] * 4, [], torch.tensor([1, 2])])
def test_as_many_targets_as_images(targets, small, inputs):
    with pytest.raises(TargetError, match=rf"{len(targets)} targets, 3 images"):
        gradcam(small, inputs, targets)


@pytest.mark.parametrize("targets", [("dog", "cat", "fish"), torch.tensor([1, 0, 3]), [1, "0", LABELS[3]]])
def test_targets_for_each_image_in_every_form(targets, small, inputs):
    assert [str(each) for each in gradcam(small, inputs, targets).targets] == ["dog", "cat", "fish"]


def watching(unit, net, inputs, layer):
    """The unit's score and its gradient at a layer, by the engine."""
    with undisturbed(net), capture(net, [layer], watched_layers([unit])) as caught:
        logits = net(inputs)
        scores = score([unit] * len(inputs), logits, caught)
        return scores.detach(), caught.gradients(scores)[layer]


@pytest.mark.parametrize(
    ("unit", "of"),
    [
        (Unit("conv2", 4), lambda maps: maps[:, 4].mean(dim=(1, 2))),
        (Unit("conv2", 4, (7, 0)), lambda maps: maps[:, 4, 7, 0]),
        (Unit("relu2", 1, (3, 5)), lambda maps: maps[:, 1].relu()[:, 3, 5]),
    ],
)
def test_a_units_score_and_gradient_by_hand(unit, of, inputs):
    net = Small().eval()
    below = torch.nn.Sequential(net.conv1, net.norm1)(inputs).detach().requires_grad_()
    expected = of(net.conv2(net.down(below.relu())))
    (gradient,) = torch.autograd.grad(expected.sum(), below)
    scores, found = watching(unit, net, inputs, "norm1")
    torch.testing.assert_close(scores, expected.detach())
    torch.testing.assert_close(found, gradient)
    assert found.any()


def test_a_unit_whose_layer_is_written_into_afterwards(inputs):
    """The ReLU after ``norm1`` works in place: the unit's own value counts, negative too."""
    net = Small().eval()
    below = net.conv1(inputs).detach().requires_grad_()
    expected = net.norm1(below)[:, 2].mean(dim=(1, 2))
    (gradient,) = torch.autograd.grad(expected.sum(), below)
    scores, found = watching(Unit("norm1", 2), net, inputs, "conv1")
    torch.testing.assert_close(scores, expected.detach())
    torch.testing.assert_close(found, gradient)


def test_a_unit_of_a_vector_and_of_tokens(inputs):
    net = Small().eval()
    scores, _ = watching(Unit("fc", 3), net, inputs, "conv2")
    torch.testing.assert_close(scores, net(inputs)[:, 3].detach())
    encoded = Encoded().eval()
    scores, _ = watching(Unit("encoder.layers.0", 3, (1, 2)), encoded, inputs, "patches")
    torch.backends.mha.set_fastpath_enabled(False)
    tokens = torch.cat([encoded.token.expand(3, -1, -1), encoded.patches(inputs).flatten(2).transpose(1, 2)], dim=1)
    expected = encoded.encoder.layers[0](tokens)[:, 1 + 4 * 1 + 2, 3]
    torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(scores, expected.detach())


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (Unit("conv2", 6), "channels 0 to 5; there is no 6"),
        (Unit("conv2", -1), "there is no -1"),
        (Unit("conv2", 0, (8, 0)), "8x8 places; there is none at 8,0"),
        (Unit("conv2", 0, (0, -1)), "none at 0,-1"),
        (Unit("fc", 0, (0, 1)), "1 places; there is none at 0,1"),
        (Unit("conv2", 0, (3,)), "8x8 places; there is none at 3"),
    ],
)
def test_units_that_there_are_not(unit, said, small, inputs):
    with pytest.raises(TargetError, match=said):
        gradcam(small, inputs, unit, layer="conv1")


def test_a_unit_before_the_layer_is_explained(small, inputs):
    with pytest.raises(ExplanationError, match="does not depend on layer 'conv2'"):
        gradcam(small, inputs, "conv1:0", layer="conv2")


def test_a_units_automatic_layer_lies_before_it(small, inputs):
    assert gradcam(small, inputs, "conv2:3").layer == "middle"
    assert gradcam(small, inputs, "fc:3").layer == "relu2"
    with pytest.raises(ExplanationError, match="before the target's own layer begins"):
        gradcam(small, inputs, "conv1:0")


def test_one_automatic_layer_for_units_whatever_the_batch_size(inputs):
    targets = ["conv2:3", "norm1:1", "dog"]
    together = gradcam(model_of(Small()), inputs, targets)
    torch.manual_seed(0)
    assert together.layer == "conv1"
    again = gradcam(model_of(Small()), inputs, targets, batch_size=1)
    assert again.layer == "conv1"
    assert again.values.shape == together.values.shape


GROUPED = ("gradcam", "xgradcam", "shapleycam", "saliency", "smoothgrad", "integrated_gradients", "guided_backprop")


@pytest.mark.parametrize("name", [*GROUPED, "fullgrad", "occlusion", "ablationcam"])
def test_a_function_for_each_picture(name, small, inputs):
    functions = [lambda o: o[:, 3] - 2 * o[:, 1], lambda o: o[:, 0] * o[:, 2], lambda o: o[:, 1]]
    together = getattr(cnnviz, name)(small, inputs, functions)
    for row, function in enumerate(functions):
        alone = getattr(cnnviz, name)(small, inputs[row : row + 1], function)
        assert together[row].score == pytest.approx(alone[0].score, rel=1e-5)
        most = abs(alone.values[0]).max()
        assert most > 0
        assert abs(together.values[row] - alone.values[0]).max() < 1e-4 * most
    assert len({round(one.score, 6) for one in together}) == 3


def test_a_function_for_each_picture_in_closed_form():
    class Sums(torch.nn.Module):
        def forward(self, x):
            total = x.sum((1, 2, 3))
            return torch.stack([total, 2 * total, 4 * total, 8 * total], 1)

    model = cnnviz.Model(Sums(), mean=[0.0], std=[1.0], input_size=(1, 3), channels=1)
    functions = [lambda o: o[:, 3], lambda o: o[:, 0], lambda o: o[:, 1]]
    found = cnnviz.saliency(model, torch.arange(9.0).reshape(3, 1, 1, 3), functions)
    assert found.values[:, 0, 0, 0].tolist() == [8.0, 1.0, 2.0]


def test_which_targets_are_equal():
    one, other = (lambda o: o[:, 0]), (lambda o: o[:, 1])
    assert CustomTarget(one) != CustomTarget(other)
    assert CustomTarget(one) != CustomTarget(one)
    assert len({CustomTarget(one), CustomTarget(other)}) == 2
    assert Unit("conv1", 1) == Unit("conv1", 1) != Unit("conv1", 1, (0, 0))
    assert Direction("a", (1.0, 2.0)) != Direction("a", (2.0, 1.0))
    assert Finer(TopClass(), 0.5) != Finer(TopClass(), 0.6)
    assert TopClass() == TopClass() != NoTarget()


@pytest.mark.parametrize("label", ["dog", None])
def test_the_rival_of_a_class_is_another_whatever_it_is_called(label):
    assert _find_rivals([ClassTarget(1, label)], LOGITS[:1], LABELS) == [ClassTarget(2, "bird")]


@pytest.mark.parametrize("name", ["gradcam", "saliency", "occlusion"])
def test_a_target_function_that_fails_is_told_with_its_line(name, small, inputs):
    def broken(logits):
        return logits[:, 0] / (1 // 0)

    line = broken.__code__.co_firstlineno + 1
    with pytest.raises(TargetError, match=rf"'broken' failed: ZeroDivisionError: .* in line {line} of test_scores\.py"):
        getattr(cnnviz, name)(small, inputs, broken)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda logits: logits.argmax(dim=1), "int64"),
        (lambda logits: logits[:, 0] > 0, "bool"),
        (lambda logits: torch.complex(logits[:, 0], logits[:, 1]), "complex64"),
        (lambda logits: logits[:, 0].to_sparse(), "a sparse tensor"),
    ],
)
def test_scores_without_gradients_are_refused(function, kind):
    with pytest.raises(TargetError, match=f"must return scores that are floating-point numbers.*got {kind}"):
        score([CustomTarget(function)], torch.randn(2, 3))


def test_scores_of_less_precision_are_taken_as_the_logits():
    logits = torch.randn(2, 3)
    found = score([CustomTarget(lambda given: given[:, 0].half())] * 2, logits)
    assert found.dtype == torch.float32
    assert torch.equal(found, logits[:, 0].half().float())
