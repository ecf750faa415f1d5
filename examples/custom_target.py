"""A target of your own: any function from logits (N, K) to scores (N,), such as a group of classes or an entropy.

Shows where a network sees "something round" rather than one class, and what makes it hesitate.

Run it: python examples/custom_target.py
"""

from __future__ import annotations

import torch

import cnnviz

ROUND = ("circle", "ring", "crescent")


def main() -> None:
    model = cnnviz.load_model("shapes-resnet")
    assert model.labels is not None
    members = [model.labels.index(label) for label in ROUND]
    scene = cnnviz.draw_scene(5, size=256, label="ring")

    def something_round(logits: torch.Tensor) -> torch.Tensor:
        return logits[:, members].logsumexp(dim=1)

    def hesitation(logits: torch.Tensor) -> torch.Tensor:
        shares = logits.softmax(dim=1)
        return -(shares * shares.log()).sum(dim=1)

    targets = {"its answer": None, "something round": something_round, "hesitation": hesitation}
    columns = [
        cnnviz.gradcam(model, scene.pixels, target, layer="layer3", relu=False)[0] for target in targets.values()
    ]
    figure = cnnviz.grid([[scene.pixels, *columns]], column_headings=["picture", *targets], title=model.name)
    print(figure.save("custom_target.png"))


if __name__ == "__main__":
    main()
