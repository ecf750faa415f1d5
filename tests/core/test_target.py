"""What a user writes, as a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from cnnviz.core.target import ClassTarget, CustomTarget, Difference, Finer, TopClass, Unit, parse_target
from cnnviz.errors import TargetError, UnknownNameError, UsageError

ANIMALS = ("cat", "catfish", "dogfish", "Dog", "great white shark", "great grey owl", "crane", "Crane bird")
LAYERS = ("conv1", "layer4", "layer4.0", "relu")


def index_of(like, labels=ANIMALS):
    found = parse_target(like, labels, LAYERS)
    assert isinstance(found, ClassTarget)
    assert found.label == (labels[found.index] if labels else None)
    return found.index


@pytest.mark.parametrize("like", [None, "", "  ", "top"])
def test_the_top_class(like):
    assert parse_target(like, ANIMALS) == TopClass()


@pytest.mark.parametrize(
    "like", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8), "3", " 3 "]
)
def test_an_index_in_every_form(like):
    assert index_of(like) == 3
    assert index_of(like, ()) == 3


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("cat", 0),  # exact, although it begins "catfish" too
        ("CAT", 0),
        ("catf", 1),
        ("dog", 3),  # exact but for its case, although it begins "dogfish" too
        ("dogf", 2),
        ("great w", 4),
        ("Great White Shark", 4),
        (" great white shark ", 4),
        ("crane", 6),
        ("crane b", 7),
    ],
)
def test_labels_exact_before_a_unique_beginning(text, index):
    assert index_of(text) == index


def test_an_ambiguous_beginning_lists_the_candidates():
    with pytest.raises(TargetError, match=r"2 classes: great white shark \(4\), great grey owl \(5\)"):
        parse_target("great", ANIMALS)
    with pytest.raises(TargetError, match=r"10 classes: a0 \(0\), .*a5 \(5\), \.\.\.;"):
        parse_target("a", [f"a{number}" for number in range(10)])


def test_equal_labels_are_told_apart_by_index_only():
    labels = ("crane", "maillot", "crane")
    with pytest.raises(TargetError, match=r"'crane' names 2 classes: crane \(0\), crane \(2\); .*index"):
        parse_target("crane", labels)
    assert index_of(2, labels) == 2


def test_exact_case_before_any_case():
    assert index_of("Crane", ("crane", "Crane")) == 1
    with pytest.raises(TargetError, match="2 classes"):
        parse_target("CRANE", ("crane", "Crane"))


def test_labels_that_are_digits_come_before_indices():
    digits = ("3", "1", "2", "0")
    assert index_of("3", digits) == 0
    assert index_of(3, digits) == 3
    assert str(parse_target("3 - 1", digits)) == "3 - 1"
    assert parse_target("3 - 1", digits) == Difference(ClassTarget(0, "3"), ClassTarget(1, "1"))


@pytest.mark.parametrize("text", ["cat - dog", "cat vs dog", "cat vs. dog", "CAT  -  Dog", "0 - 3", "cat - 3"])
def test_differences(text):
    assert parse_target(text, ANIMALS) == Difference(ClassTarget(0, "cat"), ClassTarget(3, "Dog"))


@pytest.mark.parametrize(
    "text", ["dog vs similar", "Dog - similar", "3 vs similar", "dogf vs similar", "top vs similar"]
)
def test_a_class_against_those_like_it(text):
    first = {"dogf vs similar": ClassTarget(2, "dogfish"), "top vs similar": TopClass()}
    assert parse_target(text, ANIMALS) == Finer(first.get(text, ClassTarget(3, "Dog")))


def test_similar_may_be_a_label():
    assert parse_target("cat vs similar", ("cat", "similar")) == Difference(
        ClassTarget(0, "cat"), ClassTarget(1, "similar")
    )
    with pytest.raises(UnknownNameError, match="'kat'"):
        parse_target("kat vs similar", ANIMALS)


def test_labels_that_contain_a_dash():
    labels = ("red - green", "red", "green", "red - blue - dark", "blue - dark", "red - yellow", "yellow - pale")
    assert index_of("red - green", labels) == 0
    assert index_of("red - blue", labels) == 3
    assert str(parse_target("green - red", labels)) == "green - red"
    found = parse_target("red - green - blue - dark", labels)
    assert found == Difference(ClassTarget(0, "red - green"), ClassTarget(4, "blue - dark"))


def test_an_ambiguous_side_does_not_hide_a_division_that_fits():
    labels = ("x - y", "x - z", "w")
    assert parse_target("x - y - w", labels) == Difference(ClassTarget(0, "x - y"), ClassTarget(2, "w"))
    with pytest.raises(TargetError, match="'x' names 2 classes"):
        parse_target("w - x", labels)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("layer4:17", Unit("layer4", 17)),
        ("layer4:17@3,5", Unit("layer4", 17, (3, 5))),
        ("layer4.0:0@0, 0", Unit("layer4.0", 0, (0, 0))),
        ("relu#2:1", Unit("relu#2", 1)),
    ],
)
def test_units(text, unit):
    assert parse_target(text, ANIMALS, LAYERS) == unit
    assert parse_target(str(unit), ANIMALS, LAYERS) == unit


def test_a_unit_of_an_unknown_layer_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no layer 'layer5'.*layer4"):
        parse_target("layer5:17", ANIMALS, LAYERS)


def test_a_label_with_a_colon_is_a_label():
    assert index_of("layer4:17", ("layer4:17", "cat")) == 0


def test_functions_and_targets_pass_through():
    def margin(logits):
        return logits[:, 0]

    found = parse_target(margin)
    assert isinstance(found, CustomTarget)
    assert found.function is margin
    assert parse_target(found) is found
    assert str(found) == "margin"
    assert parse_target(Unit("conv1", 2)) == Unit("conv1", 2)


def test_a_function_without_a_hash_has_a_name_and_can_be_told_apart():
    @dataclass
    class Margin:
        first: int

        def __call__(self, logits):
            return logits[:, self.first]

    found = parse_target(Margin(1))
    assert str(found) == "Margin"
    assert len({found}) == 1


@pytest.mark.parametrize(
    "like", [True, np.True_, torch.tensor(1) == 1, 1.0, np.float32(1), torch.tensor(1.0), b"cat", {}]
)
def test_other_things_are_refused(like):
    with pytest.raises(TargetError, match="A target is None, a class index, a label"):
        parse_target(like, ANIMALS)


@pytest.mark.parametrize("like", [8, -1, "8", "-1", np.int64(99), torch.tensor(-5)])
def test_classes_that_there_are_not(like):
    with pytest.raises(TargetError, match=r"no class -?\d+; this network's classes are 0 to 7"):
        parse_target(like, ANIMALS)


@pytest.mark.parametrize("text", ["--1", "²", "1.5", "kat", "cat - ", "- cat", "cat - kow", "layer4:x", "layer4:1@2"])
def test_nonsense_is_a_wrong_request(text):
    with pytest.raises(UsageError):
        parse_target(text, ANIMALS, LAYERS)


def test_a_mistyped_label_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'gret white shark'.*Did you mean 'great white shark'"):
        parse_target("gret white shark", ANIMALS)
    with pytest.raises(UnknownNameError, match=r"'owl'.*'great grey owl'"):
        parse_target("owl", ANIMALS)


def test_without_labels_only_indices():
    assert index_of("12", ()) == 12
    assert str(parse_target(12)) == "class 12"
    with pytest.raises(TargetError, match="no labels, so 'cat' names no class"):
        parse_target("cat", None)
    with pytest.raises(TargetError, match="0 upwards"):
        parse_target(-1)
