"""The listed mutations still fit the source, and every one is caught: `pytest -m slow tests/benchmarks`."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.mutants.listed import MUTATIONS
from benchmarks.mutants.mutation import Mutation
from benchmarks.mutants.trial import ROOT, Trial
from benchmarks.mutants.witness import Outcome
from benchmarks.mutations import all_tests, page, survivors

WRONG = Mutation("a sum", "cnnviz/sums.py", "a + b", "a - b", ("tests/test_sums.py",), "sums are differences")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_stands_in_the_source_exactly_once_and_is_still_python(mutation):
    changed = mutation.applied(ROOT)
    assert changed != (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(changed, mutation.file, "exec")
    assert mutation.tests
    for file, _, test in (each.partition("::") for each in mutation.tests):
        assert (ROOT / file).exists()
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_mutation_has_a_name_of_its_own():
    assert not [name for name, count in Counter(mutation.name for mutation in MUTATIONS).items() if count > 1]
    assert not [place for place, count in Counter((each.file, each.after) for each in MUTATIONS).items() if count > 1]


@pytest.mark.parametrize(("source", "count"), [("a * b", 0), ("a + b, a + b", 2)])
def test_a_text_that_is_not_there_once_is_an_error(source, count, tmp_path):
    (tmp_path / "cnnviz").mkdir()
    (tmp_path / WRONG.file).write_text(source)
    with pytest.raises(ValueError, match=f"stands {count} times in cnnviz/sums.py; expected once"):
        WRONG.applied(tmp_path)


def test_the_page_names_what_survived():
    caught = Outcome(1, 3, "tests/test_sums.py::test_sum", "assert 1 | 2 == 3", ())
    outcomes = dict.fromkeys(MUTATIONS, caught) | {MUTATIONS[0]: Outcome(0, 5, "", "", ())}
    assert survivors(outcomes) == [MUTATIONS[0].name]
    lines = page(outcomes).splitlines()
    (left,) = [line for line in lines if line.startswith(f"| {MUTATIONS[0].name} |")]
    assert left.endswith("| **nothing** |  |")
    assert sum("`test_sums.py::test_sum` | `assert 1 \\| 2 == 3` |" in line for line in lines) == len(MUTATIONS) - 1
    assert f"{len(MUTATIONS)} mutations" in lines[2]
    assert f"{len(MUTATIONS) - 1} are caught" in lines[2]


@pytest.fixture
def checkout(tmp_path):
    """A package of two files, whose tests look at one of them."""
    root = tmp_path / "checkout"
    for folder in ("cnnviz", "tests"):
        (root / folder).mkdir(parents=True)
    (root / "cnnviz" / "__init__.py").write_text("")
    (root / "cnnviz" / "sums.py").write_text("def total(a, b):\n    return a + b\n")
    (root / "cnnviz" / "unused.py").write_text("def total(a, b):\n    return a + b\n")
    (root / "tests" / "test_sums.py").write_text(
        "from cnnviz.sums import total\n\n\ndef test_zero():\n    assert total(4, 0) == 4\n\n\n"
        "def test_sum():\n    found = total(1, 2)\n    assert found == (\n        3\n    )\n"
    )
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    return root


@pytest.mark.slow
def test_a_trial_tells_caught_survived_and_never_run_apart(checkout, tmp_path):
    trial = Trial(tmp_path / "copy", checkout)
    assert trial.control(WRONG.tests) == 2
    caught = trial.of(WRONG)
    assert (caught.test, caught.line) == ("tests/test_sums.py::test_sum", "assert found == ( 3 )")
    assert caught.passed == 1
    same = Mutation("nothing", WRONG.file, "a + b", "b + a", WRONG.tests, "nothing")
    assert trial.of(same).test == ""
    unused = Mutation("unused", "cnnviz/unused.py", "a + b", "a - b", WRONG.tests, "nothing")
    with pytest.raises(RuntimeError, match="was never imported by"):
        trial.of(unused)
    broken = Mutation("broken", WRONG.file, "return a + b", "return a +", WRONG.tests, "nothing")
    with pytest.raises(RuntimeError, match="pytest ended with"):
        trial.of(broken)
    assert trial.control(WRONG.tests) == 2
    assert (checkout / WRONG.file).read_text() == "def total(a, b):\n    return a + b\n"
    (checkout / WRONG.file).write_text("def total(a, b):\n    return a\n")
    with pytest.raises(RuntimeError, match="do not pass without a mutation: tests/test_sums"):
        Trial(tmp_path / "other", checkout).control(WRONG.tests)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A copy on which the tests of all mutations pass."""
    made = Trial(tmp_path_factory.mktemp("copy"))
    assert made.control(all_tests()) > 0
    return made


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught(mutation, trial):
    assert trial.of(mutation).test
