"""Bad input: one sentence on stderr that names the way out, the right exit code, never a traceback."""

from __future__ import annotations

import pytest


def check(result, code, *words):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    for word in words:
        assert word in lines[0]


def usage(result, *words):
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: cnnviz")
    for word in words:
        assert word in result.stderr.splitlines()[-1]


def test_missing_image_offers_the_nearest_file(gradcam, photo):
    photo("kitten.jpg")
    check(gradcam("kiten.jpg"), 1, "There is no file 'kiten.jpg'", "'kitten.jpg'")


def test_text_named_jpg(gradcam, folder):
    (folder / "notes.jpg").write_text("dear diary")
    check(gradcam("notes.jpg"), 1, "'notes.jpg' is text", "expected a JPEG")


def test_folder_without_pictures(gradcam, folder):
    (folder / "empty").mkdir()
    check(gradcam("empty"), 1, "'empty' holds no picture")


def test_a_picture_too_long_to_feed(gradcam, photo, folder):
    from PIL import Image

    Image.new("RGB", (30_000, 1)).save(folder / "line.png")
    result = gradcam(photo(), "line.png", "--input-size", 2048)
    check(result, 1, "'line.png'", "less elongated")
    assert result.stdout == "cat.gradcam.png\n"


def test_unknown_model(cnnviz, photo):
    check(cnnviz("gradcam", "--model", "resnet5", photo()), 2, "There is no network 'resnet5'", "'resnet50'")


def test_unknown_command(cnnviz):
    check(cnnviz("gradcma"), 2, "There is no command 'gradcma'", "'gradcam'")


def test_unknown_layer(gradcam, photo):
    check(gradcam(photo(), "--layer", "77"), 2, "There is no layer '77'", "cnnviz layers")


def test_layer_without_spatial_extent(gradcam, photo):
    check(gradcam(photo(), "--layer", "6"), 2, "Layer '6' has no spatial extent")


def test_unknown_label(gradcam, photo):
    check(gradcam(photo(), "--target", "goldfisch"), 2, "There is no label 'goldfisch'", "'goldfish'")


def test_a_part_of_a_label(gradcam, photo):
    check(gradcam(photo(), "--target", "t"), 2, "There is no label 't'", "'t*' is the sum of all that match")


@pytest.mark.parametrize("target", ["4", "-1"])
def test_class_index_out_of_range(gradcam, photo, target):
    check(gradcam(photo(), f"--target={target}"), 2, f"There is no class {target}", "0 to 3")


def test_weights_that_are_none(gradcam, photo):
    check(gradcam(photo(), "--weights", "labels.txt"), 1, "'labels.txt'")
    check(gradcam(photo(), "--weights", "absent.pth"), 1, "There is no weights file 'absent.pth'")


def test_labels_of_another_number(cnnviz, photo, folder):
    (folder / "three.txt").write_text("a\nb\nc\n")
    result = cnnviz("gradcam", "--model", "nets.py:tiny", "--labels", "three.txt", photo())
    check(result, 2, "3 labels")


def test_factory_that_fails(gradcam, photo):
    check(gradcam(photo(), model="broken"), 1, "'broken' failed", "no such thing")


def test_dict_of_logits_is_understood(gradcam, photo):
    assert gradcam(photo(), model="usual_dict").exit_code == 0


@pytest.mark.parametrize(("model", "key"), [("strange_dict", "second"), ("pair", "1")])
def test_other_containers_are_explained(gradcam, photo, model, key):
    check(gradcam(photo(), model=model), 1, "--logits KEY")
    check(gradcam("cat.jpg", "--logits", "third", model=model), 1, "has no part 'third'")
    assert gradcam("cat.jpg", "--logits", key, model=model).exit_code == 0


def test_existing_output(gradcam, photo):
    assert gradcam(photo()).exit_code == 0
    check(gradcam("cat.jpg"), 1, "'cat.gradcam.png' exists already", "--force")
    assert gradcam("cat.jpg", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("map.bmp", "must end in .png"),
        ("maps", "for a folder write 'maps/'"),
        ("absent/map.png", "There is no folder 'absent'"),
        ("labels.txt/", "'labels.txt' is a file"),
        ("labels.txt/deep/", "labels.txt' is a file"),
        ("labels.txt/map.png", "labels.txt"),
        ("cat.jpg", "is one of the pictures"),
    ],
)
def test_unwritable_output_is_found_before_the_work(gradcam, photo, out, words):
    check(gradcam(photo(), "--force", "-o", out, model="broken"), 1, words)


def test_unknown_colour_map(gradcam, photo):
    check(gradcam(photo(), "--cmap", "infreno", model="broken"), 2, "There is no colour map", "'inferno'")


def test_unknown_device(gradcam, photo):
    check(gradcam(photo(), "--device", "abacus"), 2, "There is no device 'abacus'")


def test_settings_out_of_bounds(gradcam, cnnviz, photo):
    usage(gradcam(photo(), "--batch-size", 0), "--batch-size")
    usage(gradcam("cat.jpg", "--input-size", "big"), "'big' is not a size")
    usage(gradcam("cat.jpg", "--mean", "a,b"), "'a,b' is not a list of numbers")
    usage(gradcam("cat.jpg", "--style", "pretty"), "--style")
    usage(gradcam("cat.jpg", "--tarjet", 3), "--tarjet")
    usage(gradcam(), "IMAGE")
    usage(cnnviz("gradcam", "cat.jpg"), "--model")
    check(gradcam("cat.jpg", "--mean", "0.5,0.5"), 2, "mean is [0.5, 0.5]")


def test_interrupted(gradcam, photo):
    result = gradcam(photo(), model="Interrupted")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"


def test_a_bug_is_one_line_unless_debugging(gradcam, cnnviz, photo, monkeypatch):
    from cnnviz.models.model import Model

    def bug(*_):
        raise AssertionError("a bug")

    monkeypatch.setattr(Model, "describe", bug)
    check(gradcam(photo()), 1, "internal error (AssertionError: a bug)", "please report", "--debug")
    result = cnnviz("--debug", "gradcam", "--model", "nets.py:tiny", "--input-size", 32, "cat.jpg")
    assert isinstance(result.exception, AssertionError)


def test_info_of_foreign_files(cnnviz, photo):
    check(cnnviz("info", photo()), 1, "was not written by cnnviz")
    check(cnnviz("info", "absent.png"), 1, "There is no file 'absent.png'")
    check(cnnviz("info", "labels.txt"), 1, "must end in")


def test_no_network_of_that_name(cnnviz):
    check(cnnviz("models", "resnett50"), 2, "There is no network 'resnett50'", "'resnet50'")


@pytest.mark.parametrize("asked", [("compare", "--methods", "gradcam"), ("report", "-o", "page.html")])
def test_commands_that_explain_one_target_leave_none_out_silently(cnnviz, photo, asked):
    name, *more = asked
    two = ("--target", 0, "--target", 1)
    refused = cnnviz(name, "--model", "nets.py:tiny", "--input-size", 32, *more, photo(), *two)
    assert refused.exit_code == 2
    assert "this command explains one target; got 2" in refused.stderr
