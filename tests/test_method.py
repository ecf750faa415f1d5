"""What a method is: its signature and docstring say everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Literal, Optional

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Interval, Le, Lt

from cnnviz.errors import ParameterError
from cnnviz.method import Parameter, method


@dataclass(frozen=True)
class Result:
    value: object
    made: tuple = ()

    def stamped(self, name, settings):
        return replace(self, made=(name, dict(settings)))


@method
def sample(
    model: str,
    images: list,
    *,
    many: Annotated[int, Ge(1), Le(9)] = 3,
    share: Annotated[float, Gt(0), Lt(1)] = 0.5,
    between: Annotated[float, Interval(ge=0, le=2)] = 1.0,
    kind: Literal["plain", "squared"] = "plain",
    on: bool = True,
    layer: str | None = None,
    most: Annotated[int | None, Ge(1)] = None,
    least: Optional[Annotated[float, Gt(0)]] = None,  # noqa: UP045
) -> Result:
    """What it does.

    And more.

    Args:
        model: The model.
        images: The images.
        many: How many, with a long
            explanation.
        share: A share.
        between: A number.
        kind: A kind.
        on: A switch.
        layer: A layer.
        most: At most.
        least: At least.

    Returns:
        Something.

    Reference:
        A. Author, A title,
        CVPR 2016.
    """
    return Result((model, images, many, share, between, kind, on, layer, most, least))


SETTINGS = sample.parameters


@pytest.mark.parametrize(("asked", "offer"), [({"man": 4}, " Did you mean 'many'?"), ({"xyz": 4}, "")])
def test_a_setting_that_is_not_there(asked, offer):
    (name,) = asked
    with pytest.raises(TypeError) as raised:
        sample("net", [], **asked)
    assert str(raised.value) == f"sample() got an unexpected keyword argument '{name}'.{offer}"


def test_what_it_says_of_itself():
    assert sample.name == sample.__name__ == "sample"
    assert sample.needs == ("model", "images")
    assert sample.summary == "What it does."
    assert sample.reference == "A. Author, A title, CVPR 2016."
    assert SETTINGS["many"].help == "How many, with a long explanation."
    assert "many: " in repr(sample)
    with pytest.raises(TypeError):
        SETTINGS["many"] = None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("many", Parameter("many", int, 3, "How many, with a long explanation.", low=1, high=9)),
        ("share", Parameter("share", float, 0.5, "A share.", low=0, high=1, open_low=True, open_high=True)),
        ("between", Parameter("between", float, 1.0, "A number.", low=0, high=2)),
        ("kind", Parameter("kind", str, "plain", "A kind.", choices=("plain", "squared"))),
        ("on", Parameter("on", bool, default=True, help="A switch.")),
        ("layer", Parameter("layer", str, None, "A layer.", optional=True)),
        ("most", Parameter("most", int, None, "At most.", optional=True, low=1)),
        ("least", Parameter("least", float, None, "At least.", optional=True, low=0, open_low=True)),
    ],
)
def test_settings_from_the_signature(name, expected):
    assert SETTINGS[name] == expected


def test_called_like_its_function_and_stamped():
    found = sample("m", images=[1], many=5)
    assert found.value == ("m", [1], 5, 0.5, 1.0, "plain", True, None, None, None)
    assert found.made[0] == "sample"
    assert found.made[1] == {name: one.default for name, one in SETTINGS.items()} | {"many": 5}


@pytest.mark.parametrize("given", [{}, {"model": 1}, {"model": 1, "images": [], "unknown": 2}])
def test_wrong_calls_are_pythons_own_errors(given):
    with pytest.raises(TypeError):
        sample(**given)


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("many", np.int64(4), 4),
        ("many", torch.tensor(4), 4),
        ("share", np.float32(0.25), 0.25),
        ("share", Fraction(1, 4), 0.25),
        ("between", 2, 2.0),
        ("between", torch.tensor(1.5), 1.5),
        ("most", None, None),
        ("least", 10**12, 1e12),
        pytest.param("most", 10**400, 10**400, id="most-huge"),
    ],
)
def test_numbers_of_other_libraries_become_plain(name, value, held):
    found = SETTINGS[name].check(value)
    assert found == held
    assert type(found) is type(held)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("many", 0, "many must be at least 1 and at most 9; got 0."),
        ("many", 10, "at most 9"),
        pytest.param("many", 10**400, "at most 9", id="many-huge"),
        pytest.param("most", -(10**400), "at least 1", id="most-huge"),
        ("many", 2.0, "a whole number; got 2.0"),
        ("many", torch.tensor(2.5), "a whole number"),
        ("many", np.array([1, 2]), "a whole number"),
        ("many", torch.tensor([1, 2]), "a whole number"),
        ("many", "3", "a whole number; got '3'"),
        ("many", True, "a whole number; got True"),
        ("many", None, "a whole number; got None"),
        ("share", 0, "more than 0 and less than 1; got 0."),
        ("share", 1.0, "less than 1"),
        ("share", float("nan"), "more than 0 and less than 1; got nan"),
        ("share", True, "a number; got True"),
        ("share", np.True_, "a number"),
        ("many", torch.tensor(1) == 1, "a whole number"),
        ("share", 1j, "a number"),
        ("share", np.array([0.1, 0.2]), "a number"),
        ("share", torch.ones(2), "a number"),
        ("least", float("inf"), "got inf"),
        pytest.param("least", 10**400, "a number", id="least-huge"),
        ("between", -0.1, "at least 0 and at most 2"),
        ("kind", "square", "one of plain, squared; got 'square' .did you mean 'squared'?"),
        ("kind", 3, "a text; got 3"),
        ("on", 1, "True or False; got 1"),
        ("on", "yes", "True or False"),
        ("layer", 4, "a text; got 4"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(name, value, said):
    with pytest.raises(ParameterError, match=said) as raised:
        sample("m", [], **{name: value})
    assert str(raised.value).startswith(f"{name} must be ")


def test_the_function_does_not_run_with_a_wrong_setting():
    ran = []

    @method
    def careful(*, many: Annotated[int, Ge(1)] = 1) -> Result:
        """Runs."""
        ran.append(many)
        return Result(many)

    with pytest.raises(ParameterError):
        careful(many=0)
    careful(many=2)
    assert ran == [2]


def several(*, value: int | float = 1) -> Result:
    """Has a setting of several types."""


def odd(*, value: list[int] = ()) -> Result:
    """Has a setting that no command line can give."""


def unbounded(*, value: Annotated[int, "at least one"] = 1) -> Result:
    """Has a bound that is not understood."""


@pytest.mark.parametrize(
    ("function", "said"), [(several, "several types"), (odd, "no command line"), (unbounded, "'at least one'")]
)
def test_signatures_that_cannot_be_methods(function, said):
    with pytest.raises(TypeError, match=said):
        _ = method(function).parameters
