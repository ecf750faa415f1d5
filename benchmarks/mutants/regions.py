"""Mutations of the work that occlusion saves: gates, sections, the copy that answers, and what it is asked."""

from __future__ import annotations

from benchmarks.mutants.mutation import Mutation

__all__ = ["REGIONS"]

M = "cnnviz/methods"
P = "cnnviz/engine"
OBLONG = ("tests/engine/test_regional.py::test_every_window_of_an_oblong_picture",)
AROUND = ("tests/engine/test_regional.py::test_a_way_around_the_gates_is_noticed_and_said",)
LYING = ("tests/engine/test_regional.py::test_a_part_that_knows_where_it_lies_is_noticed_and_said",)
SEVERAL = (
    "tests/engine/test_regional.py::test_several_pictures_and_targets_share_the_copy_and_the_network_is_left_alone",
)
WORK = ("tests/engine/test_regional.py::test_the_work_of_an_occlusion_map",)
COUNTED = ("tests/engine/test_regional.py::test_how_many_pictures_there_are",)
LOCAL = ("tests/engine/test_regional.py::test_layers_that_see_more_lie_elsewhere_or_are_passed_by_are_no_gates",)
NARROW = ("tests/engine/test_regional.py::test_gates_are_what_every_way_leads_through",)
TWICE = ("tests/engine/test_regional.py::test_a_layer_that_is_called_twice_is_no_gate",)
FOLDING = ("tests/engine/test_folding.py",)

REGIONS = (
    Mutation(
        "Windows: a soft window changes only where it hides half", f"{P}/windows/regional.py",
        "changed = (profiles > 0).numpy()", "changed = (profiles > 0.5).numpy()",
        OBLONG, "a soft window's ends are not seen",
    ),
    Mutation(
        "Windows: the last pixel of a window forgotten", f"{P}/windows/regional.py",
        "changed.shape[1] - changed[:, ::-1]", "changed.shape[1] - 1 - changed[:, ::-1]",
        OBLONG, "what sees a window's last row alone is not computed again",
    ),
    Mutation(
        "Parts: put in at the window's corner", f"{P}/windows/regional.py",
        "low, high = max(corner, start), min(corner + length, start + size)",
        "low, high = start, min(start + length, start + size)",
        OBLONG, "parts are put where they do not belong",
    ),
    Mutation(
        "Parts: the wrong slice of a part", f"{P}/windows/regional.py",
        "slice(int(low - corner), int(high - corner))", "slice(0, int(high - low))",
        OBLONG, "of a part that passes a window's edge the wrong values are put in",
    ),
    Mutation(
        "Parts: rows and columns exchanged", f"{P}/windows/regional.py",
        "corners = segment.corners(lambda extent: extent.targets, places)",
        "corners = [corner[::-1] for corner in segment.corners(lambda extent: extent.targets, places)]",
        OBLONG, "parts are put at the transposed place",
    ),
    Mutation(
        "Parts: nothing is skipped", f"{P}/windows/regional.py",
        "segment.corners(lambda extent: extent.skipped, places)",
        "segment.corners(lambda extent: 0 * extent.skipped, places)",
        OBLONG, "values made from padding are put amid the map",
    ),
    Mutation(
        "Windows: rows and columns of windows exchanged", f"{M}/occlusion/windows.py",
        "*self._windows.places(numbers)", "*self._windows.places(numbers)[::-1]",
        OBLONG, "on oblong pictures answers are of other windows; noticed, and nothing is saved",
    ),
    Mutation(
        "Regions: their own check never fails", f"{M}/occlusion/windows.py",
        "return found.shape == whole.shape and is_close(found, whole)", "return found.shape == whole.shape",
        AROUND, "networks that cannot be asked in parts get a wrong map in silence",
    ),
    Mutation(
        "Regions: only the middle is checked", f"{M}/occlusion/windows.py",
        "some = torch.tensor([middle, len(self._windows) - 1])",
        "some = torch.tensor([middle])",
        LYING, "what goes wrong at the border is not noticed",
    ),
    Mutation(
        "Regions: only the corner is checked", f"{M}/occlusion/windows.py",
        "some = torch.tensor([middle, len(self._windows) - 1])",
        "some = torch.tensor([len(self._windows) - 1])",
        LYING, "what goes wrong in the middle is not noticed",
    ),
    Mutation(
        "Sections: recorded maps are written into", f"{P}/windows/regional.py",
        "self.maps[name] = tensor.clone()", "self.maps[name] = tensor",
        OBLONG, "from the second batch on, parts are put into a map on which the next activation has worked already",
    ),
    Mutation(
        "Sections: the picture itself is written into", f"{P}/windows/regional.py",
        "given = inputs.clone()\n", "given = inputs\n",
        OBLONG, "windows are put into a picture that is normalised twice",
    ),
    Mutation(
        "Sections: all pictures are the first", f"{P}/windows/regional.py",
        "in asked}, seen.maps\n", "in asked}, self._maps or seen.maps\n",
        SEVERAL, "windows of the second picture are put into maps of the first; noticed, and nothing is saved",
    ),
    Mutation(
        "Sections: what lies before a gate runs again", f"{P}/windows/regional.py",
        "if self._start and name in self._answered[self._start]:", "if self._start and name in self._bottlenecks:",
        WORK, "nothing is saved",
    ),
    Mutation(
        "Sections: what runs twice is answered with its last call", f"{P}/windows/regional.py",
        "if seen.calls[name] == 1 and name in seen.made}", "if name in seen.made}",
        OBLONG, "an activation that is shared is not computed after the gate; noticed, and nothing is saved",
    ),
    Mutation(
        "Sections: one picture for all parts", f"{P}/windows/regional.py",
        "whole.new_empty((len(given), *whole.shape[1:]))", "whole.new_empty((1, *whole.shape[1:]))",
        COUNTED, "networks that count their pictures cannot be asked in parts",
    ),
    Mutation(
        "Gates: a layer that runs twice is one", f"{P}/windows/bottlenecks.py",
        "if layer.calls != 1 or arrangement is None", "if arrangement is None",
        TWICE, "parts are put in place of the wrong call",
    ),
    Mutation(
        "Gates: a shortcut is not seen", f"{P}/windows/bottlenecks.py",
        "spanned[min(starts) + 1] += 1", "spanned[max(starts) + 1] += 1",
        LOCAL, "layers inside a residual block count as all there is; noticed, and nothing is saved",
    ),
    Mutation(
        "Gates: nothing is one", f"{P}/windows/bottlenecks.py",
        "spanned[min(starts) + 1] += 1", "spanned[min(starts)] += 1",
        NARROW, "nothing is saved",
    ),
    Mutation(
        "Gates: statistics of the whole map count as local", f"{P}/windows/bottlenecks.py",
        'field.kind == "spatial" and field.regular', "field.regular",
        LOCAL, "norms of a part are taken for those of the map; noticed, and nothing is saved",
    ),
    Mutation(
        "Gates: irregular units count as regular", f"{P}/windows/bottlenecks.py",
        'field.kind == "spatial" and field.regular', 'field.kind == "spatial"',
        LOCAL, "parts of an enlarged map lie elsewhere; noticed, and nothing is saved",
    ),
    Mutation(
        "Gates: units begin half a pixel late", f"{P}/windows/bottlenecks.py",
        "first = span.offset - (span.size - 1) / 2", "first = span.offset - span.size / 2",
        NARROW, "units of an odd size are no lattice, those of an even size one pixel off",
    ),
    Mutation(
        "Gates: gates of no use are kept", f"{P}/windows/bottlenecks.py",
        "return [one for one in passed if one.name not in needless]", "return passed",
        LOCAL, "many more routes are weighed, to the same end",
    ),
    Mutation(
        "Gates: the picture's rows are its columns", f"{P}/windows/bottlenecks.py",
        "for length in size_of(example))", "for length in size_of(example)[::-1])",
        OBLONG, "oblong pictures are cut at the wrong place",
    ),
    Mutation(
        "Folding: the norm stays", f"{P}/batch_norms.py",
        "_fold_norm(conv, norm), nn.Identity()", "_fold_norm(conv, norm), norm",
        FOLDING, "the norm is applied twice",
    ),
    Mutation(
        "Folding: statistics of the batch are folded", f"{P}/batch_norms.py",
        " in outputs and part.track_running_stats:", " in outputs:",
        FOLDING, "a norm without statistics of its own cannot be folded: there is no copy",
    ),
    Mutation(
        "Folding: a subclass of a norm counts as one", f"{P}/batch_norms.py",
        "if type(part) in (*CONVOLUTIONS, *NORMS):", "if isinstance(part, (*CONVOLUTIONS, *NORMS)):",
        FOLDING, "what the subclass does besides is lost",
    ),
    Mutation(
        "Folding: the copy stays in training mode", f"{P}/batch_norms.py",
        "        part.training = False\n", "        part.training = part.training\n",
        FOLDING, "dropout and statistics of the batch answer",
    ),
    Mutation(
        "Occlusion: the unchanged score is that of the last window", f"{M}/occlusion/windows.py",
        "self._clean, scores = scores[:, 0], scores[:, 1:]", "self._clean, scores = scores[:, -1], scores[:, 1:]",
        ("tests/methods/test_occlusion.py",), "every drop is off by the same",
    ),
    Mutation(
        "Occlusion: the first baseline hides all", f"{M}/occlusion/windows.py",
        "fills[some.start])", "fills[0])",
        ("tests/methods/test_occlusion.py",), "the spread of baselines is nothing",
    ),
    Mutation(
        "Occlusion: a window of a picture's longer side", f"{M}/occlusion/sides.py",
        "round(min(size) / SHARE)", "round(max(size) / SHARE)",
        ("tests/methods/test_occlusion.py",), "on oblong inputs the window is larger than it says",
    ),
    Mutation(
        "Occlusion: no window hides the first one", f"{P}/windows/window.py",
        "chosen[0] = chosen[0] * (numbers.cpu() >= 0)[:, None]", "chosen[0] = chosen[0] * 1",
        ("tests/engine/test_windows.py",), "the unchanged picture has a window hidden",
    ),
    Mutation(
        "Occlusion: a soft window twice as soft", f"{P}/windows/window.py",
        "max(soft * side / 2, 0.5)", "max(soft * side, 0.5)",
        ("tests/engine/test_windows.py",), "windows hide less than they are asked to",
    ),
)  # fmt: skip
