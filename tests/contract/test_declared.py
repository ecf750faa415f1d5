"""What a method says about itself: its line in the catalogue, its docstring and its settings agree."""

from __future__ import annotations

import inspect
import re

import pytest

from cnnviz.catalogue import CATALOGUE, command_name, load
from cnnviz.errors import ParameterError
from cnnviz.lengths import Measured, PerAxis
from cnnviz.method import Method, Parameter
from tests.support.asking import EVERYTHING, METHODS, ask, method_of

SETTINGS = [(name, setting) for name in EVERYTHING for setting in method_of(name).parameters.values()]
NAMED = [f"{name}-{setting.name}" for name, setting in SETTINGS]


def outside(setting: Parameter) -> list[object]:
    """Values that a setting must refuse."""
    wrong: dict[type, list[object]] = {
        bool: ["yes", 1, None],
        int: ["many", 1.5, True],
        float: ["much", float("nan"), float("inf"), True, None],
        str: [3, True],
        PerAxis: ["many", 1.5, True, "8x", "0x3", "10mm"],
        Measured: ["many", 1.5, True, "8x", "0x3", "0mm", "10 miles"],
    }
    values = [value for value in wrong[setting.kind] if not (setting.optional and value is None)]
    if setting.low is not None:
        values += [setting.low if setting.open_low else setting.low - 1]
    if setting.high is not None:
        values += [setting.high if setting.open_high else setting.high + 1]
    return values + (["no such choice"] if setting.choices else [])


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_docstring_is_whole(name):
    method = method_of(name)
    doc = inspect.cleandoc(method.__doc__ or "")
    assert isinstance(method, Method)
    assert method.name == name
    assert re.fullmatch(r"[^\n]+[.]", doc.partition("\n")[0])
    assert "Args:" in doc
    assert "Returns:" in doc
    for need in method.needs:
        assert re.search(rf"^    {need}: ", doc, re.MULTILINE), f"{need} is not described"


@pytest.mark.parametrize("name", METHODS)
def test_the_catalogues_line_is_the_docstrings(name):
    assert CATALOGUE[name].summary == load(name).summary
    assert CATALOGUE[name].family
    assert load(command_name(name)) is load(name)


@pytest.mark.parametrize("name", METHODS)
def test_the_paper_is_named(name):
    assert re.search(r"\b(19|20)\d\d\b", load(name).reference), "authors, title, venue and year"


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=NAMED)
def test_every_setting_is_described_and_its_default_fits(name, setting):
    assert setting.help.endswith(".")
    assert setting.check(setting.default) == setting.default


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=NAMED)
def test_settings_out_of_bounds_are_refused_by_name(name, setting, small, inputs):
    for value in outside(setting):
        with pytest.raises(ParameterError, match=setting.name):
            ask(name, small, inputs, **{setting.name: value})
