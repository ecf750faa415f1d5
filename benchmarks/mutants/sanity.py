"""Mutations of metrics that ask a method again: randomised networks, mosaics, changed pictures, other seeds."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["SANITY"]

R = "cnnviz/evaluation/randomisation"
CASCADE = ("tests/evaluation/test_cascade.py",)
RANDOMISATION = ("tests/evaluation/test_randomisation.py",)
MOSAICS = ("tests/evaluation/test_mosaics.py",)
ROBUSTNESS = ("tests/evaluation/test_robustness.py",)

SANITY = (
    Mutation(
        "Randomisation: layers in the order of their registration", f"{R}/cascade.py",
        "return sorted(order, key=lambda name: order[name])", "return [name for name in self._parts if name in order]",
        CASCADE, "'the top half' is another half of the network",
    ),
    Mutation(
        "Randomisation: layers near the picture first", f"{R}/cascade.py",
        "first, end = len(self.layers) - count, len(self.layers) - self._drawn", "first, end = self._drawn, count",
        CASCADE, "the cascade runs from the bottom",
    ),
    Mutation(
        "Randomisation: one seed for all layers", f"{R}/cascade.py",
        "np.random.SeedSequence([self._seed, place])", "np.random.SeedSequence([self._seed, 0])",
        CASCADE, "layers of one shape get the same weights",
    ),
    Mutation(
        "Randomisation: the user's network itself", f"{R}/cascade.py",
        "module = copy.deepcopy(model.module, _computed(model.module))", "module = model.module",
        CASCADE, "the network comes back with other weights",
    ),
    Mutation(
        "Randomisation: batch norms keep mean 0 and variance 1", f"{R}/cascade.py",
        "if self._done or not inputs", "if True or not inputs",
        CASCADE, "activations of a deep network die out, and maps with them",
    ),
    Mutation(
        "Randomisation: statistics of a shared norm's last call", f"{R}/cascade.py",
        "        self._done = True\n", "",
        CASCADE, "a norm is fitted to what another call gives it",
    ),
    Mutation(
        "Randomisation: a parametrised weight drawn past what it is made from", f"{R}/cascade.py",
        "setattr(part, name, value.detach().to(like.device, like.dtype))", "like.copy_(value)",
        CASCADE, "layers under weight norm keep what they learnt",
    ),
    Mutation(
        "Randomisation: a map's constancy told by its own size alone", f"{R}/agreement.py",
        "np.ptp(known) <= EVEN * np.abs(known).max()", "np.ptp(known) <= 0",
        RANDOMISATION, "rounding errors count as a pattern",
    ),
    Mutation(
        "Randomisation: equal values ranked by where they stand", f"{R}/agreement.py",
        "(last - (count + 1) / 2)[place.reshape(-1)]", "np.argsort(np.argsort(values, kind='stable')).astype(float)",
        RANDOMISATION, "flat parts of two maps agree by their reading order",
    ),
    Mutation(
        "Randomisation: similarity of magnitudes", f"{R}/agreement.py",
        "ranks = [_mean_ranks(each[both])", "ranks = [_mean_ranks(np.abs(each[both]))",
        RANDOMISATION, "a map that turned around counts as the same",
    ),
    Mutation(
        "Structural similarity: windows across the map's edge", f"{R}/agreement.py",
        "borderType=cv2.BORDER_CONSTANT, borderValue=0", "borderType=cv2.BORDER_REPLICATE",
        RANDOMISATION, "mirrored values count as the map's",
    ),
    Mutation(
        "Randomisation: the floor of each map with itself", f"{R}/mprt.py",
        "others = range(1, min(OTHERS, count - 1) + 1)", "others = range(0, min(OTHERS, count - 1) + 1)",
        RANDOMISATION, "the floor is too high",
    ),
    Mutation(
        "Randomisation: the top class of the drawn network", f"{R}/mprt.py",
        "return ask_maps(explain, model, self.pictures[rows], targets, seed)",
        "return ask_maps(explain, model, self.pictures[rows], [None] * len(targets), seed)",
        RANDOMISATION, "maps of different classes are compared",
    ),
    Mutation(
        "Smooth randomisation test: noise in the input's units", f"{R}/mprt.py",
        "generator=generator) * pixel_unit(model)", "generator=generator)",
        RANDOMISATION, "noise of a tenth of a deviation, not of a pixel's range",
    ),
    Mutation(
        "GridPG: negative values count", "cnnviz/evaluation/mosaics.py",
        "np.maximum(np.nan_to_num(values.astype(np.float64), nan=0.0), 0)",
        "np.abs(np.nan_to_num(values.astype(np.float64), nan=0.0))",
        MOSAICS, "evidence against a class points at it",
    ),
    Mutation(
        "GridPG: cells column by column", "cnnviz/evaluation/mosaics.py",
        "shares[row, number, cell] = share_by_cell(each, side)[cell]",
        "shares[row, number, cell] = share_by_cell(each.T, side)[cell]",
        MOSAICS, "two of four cells are taken for each other",
    ),
    Mutation(
        "GridPG: cells of one class", "cnnviz/evaluation/mosaics.py",
        "by_class.setdefault(tiles[at].target.index, at)", "by_class.setdefault(at, at)",
        MOSAICS, "the right cell is two cells",
    ),
    Mutation(
        "GridPG: pictures that the network is not sure about", "cnnviz/evaluation/mosaics.py",
        "if share >= probability", "if share >= 0",
        MOSAICS, "cells in which the class need not be",
    ),
    Mutation(
        "Max-sensitivity: the radius in the input's units", "cnnviz/evaluation/robustness.py",
        "(radius * unit * drawn)", "(radius * drawn)",
        ROBUSTNESS, "changes four times as small as said",
    ),
    Mutation(
        "Max-sensitivity: the last change instead of the largest", "cnnviz/evaluation/robustness.py",
        "np.maximum(found[row], _relative_change(clean[row], maps))", "_relative_change(clean[row], maps)",
        ROBUSTNESS, "it is not the maximum",
    ),
    Mutation(
        "Max-sensitivity: a map of zeros is perfectly robust", "cnnviz/evaluation/robustness.py",
        "np.where(norms > 0, norms, 1), np.nan)", "np.where(norms > 0, norms, 1), 0)",
        ROBUSTNESS, "what shows nothing scores best",
    ),
    Mutation(
        "Repeatability: every map by one seed", "cnnviz/evaluation/robustness.py",
        "(seed + at) % (MOST_SEED + 1)", "seed",
        ROBUSTNESS, "chance looks repeatable",
    ),
)  # fmt: skip
