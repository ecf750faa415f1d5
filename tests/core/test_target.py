"""What a user writes, as a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from cnnviz.core.parse_target import parse_target
from cnnviz.core.target import ClassSum, ClassTarget, CustomTarget, Difference, Finer, TopClass, Unit
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
        ("catfish", 1),
        ("dog", 3),  # exact but for its case, although it begins "dogfish" too
        ("DOGFISH", 2),
        ("Great White Shark", 4),
        (" great white shark ", 4),
        ("crane", 6),
        ("crane bird", 7),
    ],
)
def test_a_label_is_a_whole_label(text, index):
    assert index_of(text) == index


FURNITURE = ("chain", "barber chair", "cairn", "folding chair", "catamaran", "Egyptian cat", "dogsled", "wolf spider")


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("chair", ["barber chair", "folding chair"]),  # not chain, cairn
        ("cat", ["Egyptian cat", "catamaran"]),  # the word before the part of one
        ("dog", ["dogsled"]),
        ("wolf", ["wolf spider"]),
        ("egyptian ca", ["Egyptian cat"]),
        ("chainn", ["chain", "cairn"]),  # nothing holds it: spelt alike
    ],
)
def test_a_part_of_a_label_is_refused_with_those_that_hold_the_word(text, offered):
    with pytest.raises(UnknownNameError, match=f"no label '{text}'") as caught:
        parse_target(text, FURNITURE)
    assert caught.value.suggestions == offered


def test_the_pattern_for_several_labels_is_offered():
    with pytest.raises(UnknownNameError, match=r"'\* chair' is the sum of all that match"):
        parse_target("chair", FURNITURE)
    with pytest.raises(UnknownNameError, match=r"'great\*' is the sum"):
        parse_target("great", ANIMALS)


@pytest.mark.parametrize("text", ["tabby cat", "Tabby", "mouser", "tabby, tabby cat, mouser"])
def test_a_synonym_between_commas_is_a_whole_label(text):
    labels = ("cat", "tabby, tabby cat, mouser", "tiger cat")
    assert parse_target(text, labels) == ClassTarget(1, labels[1])
    with pytest.raises(TargetError, match=r"'crane' names 2 classes: bird, crane \(0\), machine, crane \(1\)"):
        parse_target("crane", ("bird, crane", "machine, crane"))
    assert index_of("crane", ("bird, crane", "crane")) == 1  # a label of its own before a synonym


def test_a_pattern_is_the_sum_of_the_labels_that_match():
    found = parse_target("*FISH", ANIMALS)
    assert found == ClassSum("*FISH", (ClassTarget(1, "catfish"), ClassTarget(2, "dogfish")))
    assert str(found) == "*FISH (catfish + dogfish)"
    assert found.explain() == "'*FISH' is the sum of 2 logits: catfish, dogfish"
    assert str(parse_target("*", ANIMALS)) == "* (cat + catfish + dogfish + 5 more)"
    assert parse_target("cat*h", ANIMALS) == ClassTarget(1, "catfish")
    assert [each.index for each in parse_target("mo*r", ("a, mouser", "b. moor", "moor")).classes] == [0, 2]
    assert index_of("c*t", ("c*t", "cat", "cut")) == 0  # a label with a star is itself
    with pytest.raises(TargetError, match=r"No label matches 'cat\* - dog'; a pattern stands alone"):
        parse_target("cat* - dog", ANIMALS[:2])


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
    "text", ["dog vs similar", "Dog - similar", "3 vs similar", "dogfish vs similar", "top vs similar"]
)
def test_a_class_against_those_like_it(text):
    first = {"dogfish vs similar": ClassTarget(2, "dogfish"), "top vs similar": TopClass()}
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
    assert index_of("red - blue - dark", labels) == 3
    assert str(parse_target("green - red", labels)) == "green - red"
    found = parse_target("red - green - blue - dark", labels)
    assert found == Difference(ClassTarget(0, "red - green"), ClassTarget(4, "blue - dark"))


def test_the_side_that_is_no_label_is_named():
    with pytest.raises(UnknownNameError, match=r"no label 'catfsh'.*'catfish'"):
        parse_target("cat - catfsh", ANIMALS)


def test_an_ambiguous_side_does_not_hide_a_division_that_fits():
    labels = ("x - y", "x - z", "w", "v", "v")
    assert parse_target("x - y - w", labels) == Difference(ClassTarget(0, "x - y"), ClassTarget(2, "w"))
    with pytest.raises(TargetError, match="'v' names 2 classes"):
        parse_target("w - v", labels)


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


NONSENSE = ["--1", "²", "1.5", "kat", "cat - ", "- cat", "cat - kow", "layer4:x", "layer4:1@", "layer4:1@1,2,3,4"]


@pytest.mark.parametrize("text", NONSENSE)
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


ODD = ("tissue:1", "x in y.z", "blue", "cat in the hat")


@pytest.mark.parametrize(
    ("text", "index", "region"),
    [
        ("tissue:1@4,5", 0, "@4,5"), ("tissue:1 in 1,2,3,4", 0, " in 1,2,3,4"),
        ("x in y.z in 1,2,3,4", 1, " in 1,2,3,4"),
        ("x in y.z in m.png", 1, " in m.png"), ("x in y.z@3,4", 1, "@3,4"), ("cat in the hat in m.png", 3, " in m.png"),
        ("blue in a in b.png", 2, " in a in b.png"),
    ],
)  # fmt: skip
def test_a_region_may_follow_labels_that_look_like_units_or_regions(text, index, region):
    found = parse_target(text, ODD, ("conv",))
    assert (found.side.index, found.region.text) == (index, region)


def test_a_layer_of_that_name_comes_before_a_region_of_a_label():
    assert parse_target("tissue:1@4,5", ODD, ("tissue",)) == Unit("tissue", 1, (4, 5))
    assert parse_target("tissue:1", ODD, ("tissue",)) == ClassTarget(0, "tissue:1")
    with pytest.raises(UnknownNameError, match="no layer 'lung'"):
        parse_target("lung:1@4,5", ODD, ("tissue",))


@pytest.mark.parametrize("text", ["blue@40.5,5", "blue in 20,4,30", "blue@", "top@1.5,3", "2@1;2"])
def test_a_region_that_is_none_is_told_the_forms_there_are(text):
    with pytest.raises(TargetError, match=r"names no region of '.*' that can be read; expected 'LABEL@X,Y'"):
        parse_target(text, ODD)


def test_words_after_a_label_that_are_no_region_are_no_label():
    with pytest.raises(UnknownNameError, match="no label 'blue in sky'"):
        parse_target("blue in sky", ODD)
