"""What stands small under a picture."""

from __future__ import annotations

import pytest

from cnnviz.results.images import NATURAL_SATURATION, NATURAL_SLOPE, quality_lines

HELD_OUT = {"held_out_mean": 14.234, "held_out_deviation": 1.26}
JUDGED = {"judge": "squeezenet1_0", "judge_probability": 0.66, "judge_rank": 1, "judge_first": "goldfish"}


def test_nothing_known_nothing_said():
    assert quality_lines({}) == ()


def test_a_second_networks_word_comes_before_the_first_ones():
    assert quality_lines(HELD_OUT) == ("14.2 ± 1.3 when moved or cropped",)
    assert quality_lines(HELD_OUT | JUDGED) == ("squeezenet1_0 agrees: 66%",)
    wrong = JUDGED | {"judge_probability": 0.016, "judge_rank": 12, "judge_first": "jellyfish"}
    assert quality_lines(HELD_OUT | wrong) == ("squeezenet1_0: jellyfish, this 12th",)
    said = [quality_lines(wrong | {"judge_rank": rank})[0].rpartition(" ")[2] for rank in (2, 3, 4, 21, 111, 122)]
    assert said == ["2nd", "3rd", "4th", "21st", "111th", "122nd"]


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (-0.18, "noisier"),
        (-0.84, "noisier"),
        (-0.86, "as fine"),
        (-1.29, "as fine"),
        (-1.72, "as fine"),
        (-1.74, "smooth"),
    ],
)
def test_fineness_within_two_deviations_of_photographs(slope, words):
    assert NATURAL_SLOPE == (-1.29, 0.22)
    assert quality_lines({"slope": slope})[0].startswith(words)


def test_saturation_is_said_where_photographs_have_less():
    known = {"slope": -1.3, "saturated_share": NATURAL_SATURATION}
    assert quality_lines(known) == ("as fine as photographs",)
    assert quality_lines(known | {"saturated_share": 0.4}) == ("as fine as photographs, 40% saturated",)


def test_a_drawing_is_not_compared_with_photographs():
    assert quality_lines({"slope": -2.6, "saturated_share": 0.8}, photographic=False) == ()
    both = HELD_OUT | JUDGED | {"slope": -2.6}
    assert len(quality_lines(both, photographic=False)) == len(quality_lines(both)) == 2
