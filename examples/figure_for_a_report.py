"""A figure for a report: several pictures and classes in one PDF, text as text, with headings and colour bars.

Run it: python examples/figure_for_a_report.py
"""

from __future__ import annotations

import cnnviz

LABELS = ("star", "heart", "ring")


def main() -> None:
    model = cnnviz.load_model("shapes-resnet")
    scenes = [cnnviz.draw_scene(index, size=256, label=label) for index, label in enumerate(LABELS)]
    pictures = [scene.pixels for scene in scenes]

    columns = [cnnviz.gradcam(model, pictures, label) for label in LABELS]
    figure = cnnviz.grid(
        [[picture, *maps] for picture, *maps in zip(pictures, *columns, strict=True)],
        row_headings=[f"a {label}" for label in LABELS],
        column_headings=["picture", *(f"evidence for '{label}'" for label in LABELS)],
        title="Where shapes-resnet finds its evidence",
    )
    print(figure.save("report_figure.pdf"))


if __name__ == "__main__":
    main()
