"""The page of results: its picture shows ratios and nothing else that looks like one."""

from __future__ import annotations

from benchmarks.chart import Ratio
from benchmarks.run import Outcome, ratios

CAM = """# The CAM family

| what | who | time | x cnnviz | x forward |
| --- | --- | --- | --- | --- |
| Grad-CAM, resnet50, 224 px | cnnviz | 600 ms | 1 | 1 |
| Grad-CAM, resnet50, 224 px | cnnviz, replay | 900 ms | 1.5 | 2 |
| Grad-CAM, resnet50, 224 px | grad-cam | 1800 ms | 3 | 2.97 |
| Grad-CAM, resnet50, 224 px | torchcam | RuntimeError: 12 | - | - |
"""
MAXIMIZE = """# maximize

| network | recipe | classes | forwards | pictures |
| --- | --- | --- | --- | --- |
| mobilenet_v2 | crops | tuned | 256 | 40 |

| target | cnnviz, images / s | lucent | ratio | GFLOP |
| --- | --- | --- | --- | --- |
| class logit | 19.6 | 7.3 | 2.69 | 1.20 |
"""


def test_only_columns_of_ratios_are_drawn():
    found = ratios([Outcome("cam", CAM), Outcome("maximize", MAXIMIZE), Outcome("patches", None, "it crashed")])
    assert found == [
        Ratio("Grad-CAM, resnet50, 224 px", "grad-cam", 3.0),
        Ratio("maximize, class logit", "lucent", 2.69),
    ]
