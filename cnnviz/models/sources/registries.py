"""The registries of torchvision and timm, read from the text of the installed libraries without importing them.

Importing either takes seconds. A library that is already imported is asked itself, as is one whose source is not
written as expected here.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from cnnviz.models.downloads import cached_file, cached_hub_file

__all__ = [
    "CLASSIFICATION",
    "DETECTION",
    "HUB_FILES",
    "PREFIX",
    "SEGMENTATION",
    "TimmWeights",
    "VIDEO",
    "TorchvisionWeights",
    "has_timm",
    "timm_registry",
    "torchvision_registry",
]

CLASSIFICATION: Final = "classification"
SEGMENTATION: Final = "segmentation"
DETECTION: Final = "detection"
VIDEO: Final = "video"
"""What networks answer: classes of a whole picture or of each of its pixels, boxes, or classes of a clip."""

TORCHVISION_FOLDERS: Final = {
    CLASSIFICATION: "", SEGMENTATION: "segmentation", DETECTION: "detection", VIDEO: "video",
}  # fmt: skip
"""Where among torchvision's models those of a kind are, in the order in which they are listed."""


PREFIX: Final = "timm:"
"""What stands before the names of timm's networks."""
HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""What weights are called in a repository of the hub if it is not said."""

_TORCHVISION: Final = re.compile(
    r"^@register_model\(\)\n(?:@.*\n(?:[ \t)].*\n)*)*def (\w+)\(\s*\*,\s*weights: Optional\[(\w+)\]", re.MULTILINE
)
_ENUMS: Final = re.compile(r"^class (\w+)\(WeightsEnum\):\n((?:(?:[ \t].*)?\n)*)", re.MULTILINE)
_URL: Final = re.compile(r'\burl="([^"]*)"')
_TIMM: Final = re.compile(r"^@register_model\ndef (\w+)", re.MULTILINE)
_STAR: Final = re.compile(r"^from \.(\w+) import \*", re.MULTILINE)
_NEXT: Final = re.compile(r"\n(?=[^\s)\]}#])")
"""Where the next statement of a file begins."""

_KEY: Final = re.compile(r"^ *['\"](\w+)['\"]:", re.MULTILINE)


class TorchvisionWeights(NamedTuple):
    """What a network of torchvision answers, and the addresses of its trained weights."""

    task: str
    urls: tuple[str, ...]


class TimmWeights(NamedTuple):
    """Where trained weights of timm are: a repository of the hub with a file in it, or an address elsewhere."""

    repository: str | None
    file: str | None
    url: str | None

    def cached(self) -> Path | None:
        """The weights in the cache of the Hugging Face hub, or in torch's for those that come from elsewhere."""
        if self.repository:
            return cached_hub_file(self.repository, (self.file,) if self.file else HUB_FILES)
        return cached_file(self.url) if self.url else None


def has_timm() -> bool:
    """Whether timm is installed."""
    return importlib.util.find_spec("timm") is not None


def torchvision_registry() -> dict[str, TorchvisionWeights]:
    """The trained weights of each of torchvision's networks, by its name."""
    if "torchvision.models" not in sys.modules:
        try:
            return read_torchvision(_models_folder("torchvision"))
        except (OSError, ValueError, LookupError):
            pass
    from torchvision import models

    return {
        name: TorchvisionWeights(task, tuple(entry.url for entry in models.get_model_weights(name)))
        for task, folder in TORCHVISION_FOLDERS.items()
        for name in models.list_models(module=getattr(models, folder) if folder else models)
    }


def read_torchvision(folder: Path) -> dict[str, TorchvisionWeights]:
    """What the text of torchvision's models says.

    Raises:
        ValueError: If it is not written as expected; or another of OSError and LookupError.
    """
    return {
        name: TorchvisionWeights(task, urls)
        for task, inner in TORCHVISION_FOLDERS.items()
        for name, urls in _read_torchvision_folder(folder / inner).items()
    }


def _read_torchvision_folder(folder: Path) -> dict[str, tuple[str, ...]]:
    """The addresses of the trained weights of the networks that the files in one folder register."""
    found: dict[str, tuple[str, ...]] = {}
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        builders = _TORCHVISION.findall(text)
        urls = {name: tuple(_URL.findall(body)) for name, body in _ENUMS.findall(text)}
        _expect(len(builders) == _count_word(text, "@register_model", "# "), file)
        _expect(sum(map(len, urls.values())) == text.count(" Weights("), file)
        for name, enum in builders:
            _expect(name not in found, file)
            found[name] = urls[enum]
    _expect(bool(found), folder)
    return dict(sorted(found.items()))


def timm_registry() -> dict[str, TimmWeights]:
    """Where the trained weights of timm's networks are, by the name with its tag, in timm's order."""
    if "timm" not in sys.modules:
        try:
            return read_timm(_models_folder("timm"))
        except Exception:  # noqa: BLE001  another version's text may do anything
            pass
    import timm

    configs: dict[str, Any] = {name: timm.get_pretrained_cfg(name) for name in timm.list_models(pretrained=True)}
    return {name: TimmWeights(one.hf_hub_id, one.hf_hub_filename, one.url) for name, one in configs.items()}


def read_timm(folder: Path) -> dict[str, TimmWeights]:
    """What the text of timm's models says.

    Raises:
        ValueError: If it is not written as expected; or another of OSError, SyntaxError and LookupError.
    """
    files = [folder / f"{name}.py" for name in _STAR.findall((folder / "__init__.py").read_text(encoding="utf-8"))]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    networks: set[str] = set()
    found: dict[str, TimmWeights] = {}
    for file, text in texts.items():
        names = set(_TIMM.findall(text))
        _expect(len(names) == _count_word(text, "@register_model", "# ") and not names & networks, file)
        networks |= names
        found |= _timm_weights(text, names, file)
    _expect(bool(found), folder)
    deprecated = {name for text in texts.values() for name in _deprecated_names(text)}
    _expect(not deprecated & networks, folder)
    return {name: found[name] for name in sorted(found, key=_natural_order)}


def _timm_weights(text: str, names: set[str], file: Path) -> dict[str, TimmWeights]:
    """The trained weights that one of timm's files configures for the networks that it registers."""
    found: dict[str, TimmWeights] = {}
    for key, config in _evaluate_configs(text, file).items():
        network, _, tag = key.partition(".")
        name = f"{network}.{tag.strip('*')}".rstrip(".")
        repository, url = config.get("hf_hub_id"), config.get("url")
        _expect(name not in found and not config.get("file"), file)
        if network in names and (repository or url):
            repository = f"timm/{name}" if repository == "timm/" else repository
            found[name] = TimmWeights(repository, config.get("hf_hub_filename"), url)
    return found


def _evaluate_configs(text: str, file: Path) -> dict[str, dict[str, Any]]:
    """The table of configurations in one of timm's files: the statements that make it are evaluated, nothing else."""
    first, last = text.find("\ndefault_cfgs"), text.rfind("\ndefault_cfgs")
    statements = text[first:last] + _cut_statement(text, last) if first > 0 else ""
    _expect(
        _count_word(text, "default_cfgs", "generate_") == _count_word(statements, "default_cfgs", "generate_"), file
    )
    if not statements:
        return {}
    names = _ModuleNames(text)
    names.evaluate(statements)
    table: dict[str, dict[str, Any]] = names["default_cfgs"]
    _expect(all(isinstance(key, str) and isinstance(config, dict) for key, config in table.items()), file)
    return table


class _ModuleNames(dict[str, Any]):
    """The global names of a Python file, each evaluated from its text when it is first looked up.

    What is imported from elsewhere than the standard library (such as the mean of ImageNet) is None.
    """

    def __init__(self, text: str) -> None:
        super().__init__(generate_default_cfgs=lambda configs: configs)
        self._text = text

    def evaluate(self, statements: str) -> None:
        """Run some statements among these names."""
        exec(compile(statements, "<table>", "exec", annotations.compiler_flag), self)

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        if name in sys.stdlib_module_names:
            return importlib.import_module(name)
        self[name] = None
        for start in (f"\n{name} = ", f"\n{name}: ", f"\ndef {name}("):
            place = self._text.find(start)
            if place >= 0:
                self.evaluate(_cut_statement(self._text, place))
        return self[name]


def _count_word(text: str, word: str, but_after: str) -> int:
    return text.count(word) - text.count(but_after + word)


def _cut_statement(text: str, start: int) -> str:
    """The statement that begins on the line after a place in a file."""
    following = _NEXT.search(text, start + 1)
    return text[start : following.start() if following else len(text)] + "\n"


def _deprecated_names(text: str) -> list[str]:
    place = text.find("\nregister_model_deprecations(")
    return _KEY.findall(_cut_statement(text, place)) if place >= 0 else []


def _natural_order(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]


def _models_folder(library: str) -> Path:
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(library)
    return Path(spec.submodule_search_locations[0], "models")


def _expect(holds: bool, file: Path) -> None:
    if not holds:
        raise ValueError(f"{file} is written in another way than expected")
