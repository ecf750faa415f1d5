"""Networks that the user's own Python code makes: ``package.module:factory`` or ``path/to/file.py:factory``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager, undoing
from cnnviz.errors import CnnvizError, ModelError, UnknownNameError, UsageError
from cnnviz.models.formats import existing_file, wants_random
from cnnviz.models.model import Model
from cnnviz.models.origin import OpenedNetwork, one_line
from cnnviz.models.state_dict import load_into
from cnnviz.models.weights import read_checkpoint

__all__ = ["load_function", "open_factory", "refuse_bare_file"]


def open_factory(where: str, weights: str | os.PathLike[str] | None = None) -> OpenedNetwork:
    """Run a function or class of the user's and take the network that it returns.

    The current folder and, for a file, its own folder can be imported from while that code runs.

    Args:
        where: ``package.module:name`` or ``path/to/file.py:name``.
        weights: A file to load into the network; None or ``"none"`` leaves it as it is made.

    Raises:
        ModelError: If the code cannot be found, fails, or returns something else.
        UnknownNameError: If the module has nothing of that name.
    """
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise UsageError(f"'{where}' names no factory; expected PACKAGE.MODULE:FUNCTION or FILE.py:FUNCTION.")
    file = existing_file(source, "Python file", ModelError) if source.lower().endswith(".py") else None
    with _import_paths(file):
        module = _import_module(source, file)
        made = _call_factory(_find_factory(module, name, source), name)
    opened = _describe_network(made, where if file is None else f"{file.name}:{name}")
    if weights is None or wants_random(weights):
        return opened
    checkpoint = read_checkpoint(weights)
    notes = load_into(opened.module, checkpoint, opened.name)
    origin = {**opened.origin, "weights": checkpoint.name}
    return OpenedNetwork(**{**vars(opened), "notes": (*opened.notes, *notes), "origin": origin})


def load_function(where: str) -> Callable[[Any], Any]:
    """The function of ``FILE.py:FUNCTION``, not called.

    Raises:
        ModelError: If the file is not there or fails, or this is no function.
        UnknownNameError: If the file has nothing of that name.
    """
    source, _, name = where.rpartition(":")
    file = existing_file(source, "Python file", ModelError)
    with _import_paths(file):
        found = _find_factory(_import_module(source, file), name, source)
    if not callable(found):
        raise ModelError(f"'{where}' is a {type(found).__name__}; expected a function from the output to the logits.")
    return cast("Callable[[Any], Any]", found)


def refuse_bare_file(path: Path) -> UsageError:
    """The error for a Python file given without the name of a function in it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        names = []
    else:
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    offer = f", such as {path.name}:{names[-1]}" if names else ""
    return UsageError(f"'{path.name}' is Python code; say which function in it makes the network: FILE.py:NAME{offer}.")


@contextmanager
def _import_paths(file: Path | None) -> Iterator[None]:
    before = list(sys.path)

    def put_back() -> None:
        sys.path[:] = before

    with undoing(put_back):
        sys.path[:0] = [str(Path.cwd())] if file is None else [str(file.resolve().parent), str(Path.cwd())]
        importlib.invalidate_caches()
        yield


def _import_module(source: str, file: Path | None) -> ModuleType:
    if file is not None:
        return _import_file(file)
    with _report_failure(source):
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{source}.".startswith(f"{error.name}."):
                raise
    raise ModelError(f"There is no module '{source}' in the current folder or among the installed packages.")


def _import_file(file: Path) -> ModuleType:
    if levels := _relative_levels(file):
        return _import_from_package(file, levels)
    name = f"cnnviz_factory_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{file.name}' cannot be imported as Python code.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _report_failure(file.name):
        spec.loader.exec_module(module)
    return module


def _relative_levels(file: Path) -> int:
    """How many folders up a file's relative imports reach; 0 if it has none."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return 0  # importing it says why
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _import_from_package(file: Path, levels: int) -> ModuleType:
    """Import a file as a module of the package that its folders are, as its relative imports ask."""
    top, parts = file.resolve().parent, [file.stem]
    while levels > 0 or (top / "__init__.py").is_file():
        parts.insert(0, top.name)
        top, levels = top.parent, levels - 1
    name = ".".join(parts)
    if not all(part.isidentifier() for part in parts):
        raise ModelError(f"'{file.name}' imports from its own package, whose folders are no package: '{name}'.")
    loaded = sys.modules.get(parts[0])
    if loaded is not None and str(top / parts[0]) not in map(str, getattr(loaded, "__path__", ())):
        raise ModelError(
            f"'{file.name}' imports from its own package '{parts[0]}', but another module of that name is loaded; "
            "rename the folder."
        )
    sys.path.insert(0, str(top))
    with _report_failure(file.name):
        return importlib.import_module(name)


def _find_factory(module: ModuleType, name: str, source: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            choices = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise UnknownNameError(f"function in {Path(source).name}", name, choices)
        found = getattr(found, part)
    return found


def _call_factory(found: Any, name: str) -> Any:
    if isinstance(found, (nn.Module, Model)) or not callable(found):
        return found
    needed = _required_parameters(found)
    if needed:
        raise ModelError(f"'{name}' needs arguments ({', '.join(needed)}); expected a function that takes none.")
    with _report_failure(name):
        return found()


def _required_parameters(found: Any) -> list[str]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return []
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in free]


@contextmanager
def _report_failure(what: str) -> Iterator[None]:
    """Tell in one sentence where the user's code failed."""
    try:
        yield
    except CnnvizError:
        raise
    except (Exception, SystemExit) as error:
        if ran_out_of_memory(error):
            raise
        raise ModelError(f"'{what}' failed{_failure_place(error)} with {one_line(error)}.") from error


def _failure_place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f" at {Path(error.filename or '?').name}:{error.lineno}"
    machinery = {__file__, inspect.__file__}
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in machinery and "importlib" not in frame.filename
    ]
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _describe_network(made: Any, where: str) -> OpenedNetwork:
    origin = {"source": "factory", "factory": where}
    if isinstance(made, Model):
        return OpenedNetwork(
            module=made.module,
            name=made.name,
            origin=origin,
            preprocess=made.preprocess,
            labels=made.labels,
            notes=made.notes,
            logits=made.logits_part,
            head=made.asked_head,
            detections=made.detections,
            embedding=made.embedding,
            fixed_batch=made.fixed_batch,
            grid=made.grid,
        )
    if not isinstance(made, nn.Module):
        raise ModelError(f"'{where}' gives {type(made).__name__}; expected a torch.nn.Module or a cnnviz.Model.")
    return OpenedNetwork(module=made, name=where.rsplit(":", 1)[-1], origin=origin)
