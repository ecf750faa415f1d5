"""Signatures read from a method's source: explaining a command, or completing it, loads no torch."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from typing import Any

from cnnviz.signature import Signature

__all__ = ["read_signature"]

LIGHT = ("typing", "annotated_types")
"""Modules that annotations of settings take names from, besides our own."""


def read_signature(where: str, name: str) -> Signature:
    """The signature of a method, as loading it would give.

    Args:
        where: Its module.
        name: Its function's name.
    """
    names = _names_in(where)
    function = names.function(name)
    given = function.args
    settings = {
        setting.arg: (names.value(setting.annotation), names.value(default))
        for setting, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    }
    returned = function.returns
    while isinstance(returned, ast.BinOp):
        returned = returned.left
    usual = ast.unparse(returned) if returned else ""
    return Signature.of(name, [need.arg for need in given.args], settings, usual, ast.get_docstring(function))


class _Names(dict[str, Any]):
    """What names mean in a module, as far as settings are made of them: the module itself is not run.

    Args:
        where: The module.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        spec = find_spec(where)
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        self._where, self._body = where, ast.parse(spec.loader.get_source(where) or "").body

    def function(self, name: str) -> ast.FunctionDef:
        """The module's function of that name."""
        return next(node for node in self._body if isinstance(node, ast.FunctionDef) and node.name == name)

    def value(self, node: ast.expr | None) -> Any:
        """What an expression of the module comes to; None for none."""
        return None if node is None else eval(compile(ast.Expression(node), self._where, "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        for node in self._body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=key)) | ast.Assign(targets=[ast.Name(id=key)]) if key == name:
                    return self.setdefault(name, self.value(node.value))
                case ast.ImportFrom(module=str(module), names=imported):
                    for one in imported:
                        if (one.asname or one.name) == name:
                            return self.setdefault(name, _from(module, one.name))
                case _:
                    continue
        raise KeyError(name)


def _from(module: str, name: str) -> Any:
    return getattr(import_module(module), name) if module in LIGHT else _names_in(module)[name]


@cache
def _names_in(where: str) -> _Names:
    return _Names(where)
