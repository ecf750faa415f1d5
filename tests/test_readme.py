"""The README tells the truth: its table is the catalogue, its files exist, its Python runs."""

import re
from pathlib import Path

import pytest

from cnnviz.catalogue import CATALOGUE, command_name, load

README = Path(__file__).parents[1] / "README.md"


def table() -> str:
    lines = ["| command | question | paper |", "| --- | --- | --- |"]
    for name, entry in CATALOGUE.items():
        reference = load(name).reference
        lines.append(f"| `{command_name(name)}` | {entry.summary.rstrip('.')} | {reference} |")
    return "\n".join(lines)


def test_the_table_of_methods_is_the_catalogue():
    text = README.read_text(encoding="utf-8")
    found = text.partition("<!-- methods -->\n")[2].partition("\n<!-- end of methods -->")[0]
    assert found == table()


def test_pictures_and_files_that_it_shows_exist():
    text = README.read_text(encoding="utf-8")
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (README.parent / path).is_file(), path


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
    assert (tmp_path / "scene.png").is_file()
