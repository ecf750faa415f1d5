"""The house: what holds of all files and folders of the package, read from the tree."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("cnnviz", "cli") for path in (ROOT / folder).rglob("*.py"))
ROOMS = [path for path in FILES if path.name != "__init__.py"]
FOLDERS = sorted({path.parent for path in FILES})
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

MOST_LINES, MOST_FILES, MOST_LINES_OF_CODE = 450, 16, 60
SHARED = {
    "audit": "the call and its command",
    "bundled": "the bundled networks: how they are opened, and what they are",
    "compare": "the method and its command",
    "concepts": "the method and its result",
    "detections": "what a detector finds: as it is read, and as a result",
    "evaluate": "the call and its command",
    "explore": "the call and its command",
    "errors": "what goes wrong",
    "features": "the method and its result",
    "filters": "the method and its result",
    "images": "pictures: those that are read, and those that a method makes",
    "kernels": "the weights of a convolution: caught in a forward, and what can be said about them",
    "layers": "the layers of a network, and what is found out about them",
    "maximize": "the method and its command",
    "method": "what a method is, and the command of one",
    "patches": "the method, its result and its command",
    "predict": "the method and its command",
    "projections": "the method and its result",
    "report": "the method and its command",
    "signals": "signals: read, and drawn",
    "units": "units of a layer: the methods about them, and their commands",
    "video": "clips: read, and explained frame by frame",
    "volumes": "volumes: read, and drawn",
    "windows": "windows of a picture: the folder of the engine, and the maps made by hiding them",
}
"""File names that stand in several folders: the one noun that each means in all of them."""


def name_of(path: Path) -> str:
    """The dotted name of a file's module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in FILES}


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports when it runs: at its top or in a function, not for types only."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path.parent / "__init__.py")
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found.update(
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in NAMES else module for alias in node.names
            )

    Visitor().visit(TREES[path])
    return {name for name in found if name in NAMES} - {name_of(path)}


@pytest.mark.parametrize("path", ROOMS, ids=name_of)
def test_a_file_holds_one_thing(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_is_long(path):
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None
            first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno < MOST_LINES_OF_CODE, node.name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_can_be_taken_in_and_its_docstring_names_what_it_holds(folder):
    held = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")]
    held += [each.name for each in folder.iterdir() if (each / "__init__.py").is_file() and each.name != "cli"]
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_FILES
    contents = ast.get_docstring(TREES[folder / "__init__.py"]) or ""
    assert not [name for name in held if not re.search(rf"\b{name}\b", contents)]


def test_nothing_imports_in_a_circle():
    graph = {name: imports_of(path) for name, path in NAMES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_class_has_a_name_of_its_own():
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name_of(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_a_file_name_means_one_thing():
    times = Counter(path.stem for path in ROOMS)
    times.update(each.name for each in FOLDERS if each.name in times and not (each / f"{each.name}.py").is_file())
    assert {name for name, count in times.items() if count > 1} <= SHARED.keys()


def test_no_file_is_a_bag():
    assert not {path.stem for path in ROOMS} & {"utils", "helpers", "misc", "common", "base", "tools"}


def _says_how_many_axes(node: ast.AST, known: set[str]) -> bool:
    """Whether it is ``x.dim()``, ``x.ndim``, ``len(x.shape)``, ``len(x.size())``, or a name that holds one of these."""
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.Attribute):
        return node.attr == "ndim"
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in {"dim", "ndimension"} and not node.args
    of_length = isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1
    return of_length and bool(re.search(r"shape\w*$|\.size\(\)$", ast.unparse(node.args[0])))


def _constants(tree: ast.Module) -> dict[str, int]:
    """Numbers that a module gives names to, also several at once."""
    found: dict[str, int] = {}
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and type(value.value) is int:
                    found[name.id] = value.value
    return found


def compared_with_four_or_five(tree: ast.Module, elsewhere: dict[str, dict[str, int]]) -> list[int]:
    """Lines of a module in which a number of axes is compared with 4 or 5, written out or by a name.

    Args:
        tree: The module.
        elsewhere: The named numbers of all modules, for those that it imports.
    """
    named = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            held = elsewhere.get(node.module or "", {})
            named |= {alias.asname or alias.name: held[alias.name] for alias in node.names if alias.name in held}
    counts = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _says_how_many_axes(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def forbidden(node: ast.AST) -> bool:
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return any(map(forbidden, node.elts))
        if isinstance(node, ast.BinOp):
            return forbidden(node.left) or forbidden(node.right)
        number = named.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        return type(number) is int and number in {4, 5}

    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_says_how_many_axes(side, counts) for side in sides) and any(map(forbidden, sides)):
                lines.append(node.lineno)
        if isinstance(node, ast.Match) and _says_how_many_axes(node.subject, counts):
            patterns = [
                each for case in node.cases for each in ast.walk(case.pattern) if isinstance(each, ast.MatchValue)
            ]
            lines += [each.lineno for each in patterns if forbidden(each.value)]
    return lines


ONE_MODULE = "cnnviz.core.dimensions"
NUMBERS = {name: _constants(TREES[path]) for name, path in NAMES.items()}


@pytest.mark.parametrize("path", [path for path in ROOMS if name_of(path) != ONE_MODULE], ids=name_of)
def test_no_module_but_one_asks_whether_there_are_four_or_five_axes(path):
    assert not compared_with_four_or_five(TREES[path], NUMBERS)


@pytest.mark.parametrize(
    "text",
    [
        "if x.dim() == 4: pass",
        "if 5 != x.ndim: pass",
        "if len(x.shape) in (4, 5): pass",
        "if len(shape) > 4: pass",
        "if len(x.size()) == 4: pass",
        "PLANE = 4\nif values.dim() == PLANE: pass",
        "FEW: int = 5\nif values.dim() >= FEW: pass",
        "DENSE, HALF = 4, 0.5\ndef ask(x): return x.dim() == DENSE",
        "from cnnviz.elsewhere import MAPS as KIND\nok = x.ndim == KIND",
        "axes = x.dim()\nok = axes == 4",
        "match x.dim():\n    case 3: pass\n    case 4 | 5: pass",
        "ok = x.dim() == 4 + batch",
    ],
)
def test_such_questions_are_found_however_they_are_written(text):
    assert compared_with_four_or_five(ast.parse(text), {"cnnviz.elsewhere": {"MAPS": 4}})


@pytest.mark.parametrize(
    "text", ["if x.dim() == 2: pass", "if len(boxes) == 4: pass", "for at in range(4, x.dim()): pass"]
)
def test_other_questions_are_not(text):
    assert not compared_with_four_or_five(ast.parse(text), {})


def test_the_one_module_that_may_ask_is_there():
    assert ONE_MODULE in NAMES
    assert "kernel_places" in NAMES[ONE_MODULE].read_text(encoding="utf-8")
