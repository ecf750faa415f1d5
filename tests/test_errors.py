"""The errors: one tree, one sentence each, and the nearest valid choice."""

from __future__ import annotations

import inspect

import pytest

from cnnviz import errors
from cnnviz.errors import CnnvizError, MissingExtraError, UnknownNameError, UsageError, nearest

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", CLASSES)
def test_each_is_one_of_ours_with_an_exit_code_and_in_the_drawn_tree(error):
    assert issubclass(error, CnnvizError)
    assert error.exit_code == (2 if issubclass(error, UsageError) else 1)
    assert error.__name__ in errors.__doc__
    assert inspect.getdoc(error)


def test_nothing_of_ours_is_left_out():
    defined = {
        name for name, held in vars(errors).items() if inspect.isclass(held) and held.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("name", "choices", "said"),
    [
        (
            "resnet5",
            ["resnet50", "resnet152", "vgg11"],
            "There is no model 'resnet5'. Did you mean 'resnet50' or 'resnet152'?",
        ),
        ("zzz", ["resnet50"], "There is no model 'zzz'."),
        ("CONV", ["conv1"], "There is no model 'CONV'. Did you mean 'conv1'?"),
    ],
)
def test_unknown_names_offer_the_nearest(name, choices, said):
    assert str(UnknownNameError("model", name, choices)) == said
    assert str(UnknownNameError("model", name, choices, "Look there.")) == f"{said} Look there."


@pytest.mark.parametrize(
    ("name", "choices", "found"),
    [
        ("cat", ["dog", "cats", "Cat", "tomcat"], ["Cat", "cats", "tomcat"]),
        ("layer4", ["features.layer4.0", "layer3"], ["layer3", "features.layer4.0"]),
        ("x", ["xylophone"], []),  # a single letter is contained in anything
        ("", ["a"], []),
        ("a", [], []),
        ("aa", ["aab"] * 5, ["aab"]),
    ],
)
def test_nearest(name, choices, found):
    assert nearest(name, choices) == found


def test_at_most_as_many_as_asked():
    assert len(nearest("label", [f"label{number}" for number in range(10)], 2)) == 2


def test_a_missing_library_says_how_to_get_it():
    assert str(MissingExtraError("timm:resnet50", "timm")).endswith("pip install 'cnnviz[timm]'.")
