"""Mutations of what is explained of networks that are no classifiers: regions, boxes, points, likeness."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["ANSWERS"]

S = "cnnviz/engine/scores"
BOXES = ("tests/methods/test_detections.py",)
DENSE = ("tests/methods/test_dense.py",)
AREAS = ("tests/methods/test_areas.py",)
POINTS = ("tests/methods/test_points.py",)
SIMILAR = ("tests/methods/test_similar.py",)
ADAPTED = ("tests/models/test_adapted.py",)

ANSWERS = (
    Mutation(
        "Regions: the class where it wins now, not on the unchanged picture", f"{S}/dense.py",
        "return (summed * inside).sum(", "return (summed * (summed > 0)).sum(",
        DENSE, "what is explained moves with the picture that is changed",
    ),
    Mutation(
        "Regions: the rival added", f"{S}/dense.py",
        "summed - logits[:, target.rival.index]", "summed + logits[:, target.rival.index]",
        DENSE, "'dog - cat' explains both",
    ),
    Mutation(
        "Regions: a label wins from a probability of a quarter on", f"{S}/dense.py",
        "EVEN_CHANCE, NAMED = 0.5, 6", "EVEN_CHANCE, NAMED = 0.25, 6",
        DENSE, "pixels that a label does not win are explained",
    ),
    Mutation(
        "Areas: what was put around a picture counts", "cnnviz/engine/scores/dense.py",
        "torch.ones(grid, dtype=torch.bool) if frame is None else", "torch.ones(grid, dtype=torch.bool) if True else",
        AREAS, "black around a picture is an area of it",
    ),
    Mutation(
        "Boxes: the overlap is a share of both areas' sum", f"{S}/detection.py",
        "shared / (areas - shared).clamp_min(SMALLEST)", "shared / areas.clamp_min(SMALLEST)",
        BOXES, "D-RISE with another measure of overlap",
    ),
    Mutation(
        "Boxes: those of every class count", f"{S}/detection.py",
        "(detections[..., LABEL].detach().round() == target.side.index)", "(detections[..., LABEL].detach() >= 0)",
        BOXES, "a cat in its place keeps the dog's score up",
    ),
    Mutation(
        "Boxes: the surest box of a class for the one that overlaps most", f"{S}/detection.py",
        "best = overlaps.argmax(dim=1, keepdim=True)", "best = (scores * (overlaps > 0)).argmax(dim=1, keepdim=True)",
        BOXES, "another box is explained than the one drawn",
    ),
    Mutation(
        "Boxes: D-RISE adds up all boxes", f"{S}/detection.py",
        "return (overlaps * scores).amax(dim=1)", "return (overlaps * scores).sum(dim=1)",
        BOXES, "many poor boxes are worth a good one",
    ),
    Mutation(
        "Boxes: numbered from the least sure", "cnnviz/engine/detections.py",
        "return _take(found, scores.detach().sort(descending=True, stable=True).indices)",
        "return _take(found, scores.detach().sort(descending=False, stable=True).indices)",
        BOXES, "'dog #1' is the dog that the network is least sure of",
    ),
    Mutation(
        "Boxes: candidates of all classes suppress each other", "cnnviz/engine/detections.py",
        "chosen.scores.detach().float(), labels, OVERLAP", "chosen.scores.detach().float(), labels * 0, OVERLAP",
        BOXES, "a hat on a dog is not found",
    ),
    Mutation(
        "Boxes: not mirrored with the picture", "cnnviz/core/target.py",
        "box=(width - right, top, width - left, bottom)", "box=(left, top, right, bottom)",
        BOXES, "flip explains what is on the other side",
    ),
    Mutation(
        "Boxes: placed on the picture without its scale", "cnnviz/core/sample.py",
        "columns = [min(max((edge + left) * across, 0.0), float(wide)) for edge in box[::2]]",
        "columns = [min(max(edge + left, 0.0), float(wide)) for edge in box[::2]]",
        BOXES, "boxes are drawn where nothing was found",
    ),
    Mutation(
        "Masks: run lengths along rows", "cnnviz/results/detections.py",
        'mask.ravel(order="F")', 'mask.ravel(order="C")',
        BOXES, "COCO's tools read a mask turned on its side",
    ),
    Mutation(
        "Points: the lowest place of a heat map", f"{S}/dense.py",
        ".argmax())] = True", ".argmin())] = True",
        POINTS, "a place is explained where the point is not",
    ),
    Mutation(
        "Likeness: the other picture added", f"{S}/similarity.py",
        "direction = first - others[0] if others else first", "direction = first + others[0] if others else first",
        SIMILAR, "'A rather than B' explains both",
    ),
    Mutation(
        "Likeness: a product, not a cosine", f"{S}/similarity.py",
        "share = (exact @ direction) / torch.where(some, size, torch.ones_like(size))", "share = exact @ direction",
        SIMILAR, "a bright picture is similar to everything",
    ),
    Mutation(
        "Likeness: the largest place of each channel for the mean", f"{S}/similarity.py",
        "return maps.mean(dim=place_dims(maps))", "return maps.amax(dim=place_dims(maps))",
        SIMILAR, "another embedding than is said",
    ),
    Mutation(
        "Several inputs: what is fixed is zero", "cnnviz/models/adapted.py",
        "return own.expand(len(images), *own.shape[1:]).clone()",
        "return own.expand(len(images), *own.shape[1:]).clone() * 0",
        ADAPTED, "every age gives the map of age 0",
    ),
)  # fmt: skip
