"""cnnviz report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.asking import interrupt_steps
from tests.support.pages import Outline

NETWORK = ("--model", "nets.py:tiny", "--labels", "labels.txt", "--input-size", 32)
QUICK = ("--sections", "overview,predictions,maps,units,layers", "--methods", "gradcam")


@pytest.fixture
def report(cnnviz):
    """Run ``cnnviz report`` with the tiny network and what is quick to tell."""

    def run(*arguments):
        return cnnviz("report", *NETWORK, *QUICK, *arguments)

    return run


def test_one_file_with_its_record(report, cnnviz, photo):
    result = report(photo("a.png"), photo("b.png"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == ["report.html"]
    assert Outline.of(Path("report.html").read_text()).problems() == []
    record = json.loads(cnnviz("info", "report.html", "--json").stdout)
    assert record["method"] == "report"
    assert record["settings"]["methods"] == "gradcam"
    assert [image["name"] for image in record["images"]] == ["a.png", "b.png"]


def test_times_are_said_and_not_written(report, photo):
    result = report(photo("a.png"))
    assert "overview 0." in result.stderr
    assert " s," not in Path("report.html").read_text()


def test_the_same_bytes_again(report, cnnviz, photo):
    report(photo("a.png"))
    report(photo("a.png"), "-o", "again.html")
    assert Path("again.html").read_bytes() == Path("report.html").read_bytes()
    result = cnnviz("rerun", "report.html", "-o", "rerun.html", "--trust")
    assert result.exit_code == 0, result.stderr
    assert Path("rerun.html").read_bytes() == Path("report.html").read_bytes()


def test_it_goes_on_after_a_bad_picture_and_lists_it(report, photo, folder):
    (folder / "sub").mkdir()
    result = report(photo("a.png"), folder / "sub" / "absent.png", "sub/broken.png")
    assert result.exit_code == 1
    assert result.stdout.split() == ["report.html"]
    assert "absent.png" in result.stderr
    text = Path("report.html").read_text()
    assert "Left out: There is no file &#39;absent.png&#39;" in text
    assert "Left out: There is no file &#39;broken.png&#39;" in text
    assert str(folder) not in text


def test_no_picture_at_all(report):
    result = report("absent.png")
    assert result.exit_code == 1
    assert not Path("report.html").exists()


def test_figures_beside_it(report, photo):
    result = report(photo("a.png"), "--figures", "figures/")
    assert result.stdout.split() == ["report.html", "figures/maps.png", "figures/units.png"]
    again = report(photo("a.png"), "--figures", "figures/", "-o", "other.html")
    assert again.exit_code == 1
    assert "'figures/maps.png' and 1 more exist already" in again.stderr


def test_as_numbers(report, photo):
    found = json.loads(report(photo("a.png"), "--json").stdout)
    assert found["output"] == "report.html"
    assert set(found["seconds"]) == {"overview", "predictions", "maps", "units", "layers"}
    assert found["found"]["predictions"][0]["image"] == "a.png"
    assert found["found"]["units"][0]["layer"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-o", "report.pdf"), 1, "must end in .html or .htm"),
        (("-o", "nowhere/report.html"), 1, "no folder 'nowhere'"),
        (("-o", "nets.html"), 1, "exists already; add --force"),
        (("--sections", "mapps"), 2, "Did you mean 'maps'"),
        (("--methods", "gradcan"), 2, "Did you mean 'gradcam'"),
        (("--budget", "-1"), 2, "--budget"),
        (("--data", "absent/"), 1, "There is no folder or file 'absent/'"),
        (("--figures", "nets.py"), 1, "is a file, so there can be no folder"),
    ],
)
def test_what_is_wrong_is_one_sentence(report, photo, arguments, code, words):
    Path("nets.html").write_text("mine")
    result = report(photo("a.png"), *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.count("\n") <= 4
    assert Path("nets.html").read_text() == "mine"


def test_pages_are_replaced_when_asked(report, photo):
    Path("report.html").write_text("old")
    assert report(photo("a.png")).exit_code == 1
    assert report(photo("a.png"), "--force").exit_code == 0
    assert Path("report.html").read_text() != "old"


def test_an_interrupt_of_a_picture_being_made_ends_the_report(cnnviz, photo, monkeypatch):
    """Pictures that are made keep what there is; a report is there whole or not at all."""
    interrupt_steps(monkeypatch)
    result = cnnviz("report", *NETWORK, "--sections", "predictions,pictures", photo("a.png"))
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert not Path("report.html").exists()
