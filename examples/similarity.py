"""What makes two pictures similar: each one's map of the cosine of their embeddings, and why one rather than another.

Any network has an embedding: its output, or the vector of a layer, here what comes before the classes.

Run it: python examples/similarity.py
"""

from __future__ import annotations

import cnnviz


def main() -> None:
    model = cnnviz.load_model("shapes-resnet", embedding="avgpool")
    star, other_star, ring = (
        cnnviz.Picture(cnnviz.draw_scene(seed, size=128, label=label).pixels, name)
        for seed, label, name in ((3, "star", "star"), (8, "star", "another star"), (5, "ring", "ring"))
    )

    pair = cnnviz.occlusion(model, [star, other_star], "similar:pair")
    print(pair[0].caption())
    print(pair.save("similar_pair.png"))

    why = cnnviz.occlusion(model, star, cnnviz.Similar(other_star, ring))
    print(why[0].caption())
    print(why.save("similar_rather_than.png"))


if __name__ == "__main__":
    main()
