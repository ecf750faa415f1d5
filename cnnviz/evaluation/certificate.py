"""A certificate: what can be told of one map of one photograph without annotation, in one line of words."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from annotated_types import Ge, Interval

from cnnviz.drawing.figure import DRAWN_SUFFIXES
from cnnviz.method import Seed, method
from cnnviz.provenance import Provenance
from cnnviz.results.result import Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cnnviz.core.target import TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model

__all__ = ["CERTIFICATE_SUFFIXES", "Certificate", "certify"]

CERTIFICATE_SUFFIXES: Final = (".json", *DRAWN_SUFFIXES)
SURE: Final = 0.05
EXACT: Final = 0.9999
USUAL_WIDTH, ON_SCREEN, ON_PAPER = 5.0, 200, 300


@dataclass(frozen=True, eq=False)
class Certificate(Result):
    """What can be told of one map without annotation.

    Random maps are those with the map's own amplitude spectrum, so as smooth and as strong, and random phases.

    Attributes:
        method: The method's name.
        proper: As the field calls it.
        image: The picture's name.
        target: What is explained.
        probability: Its probability on the unchanged picture; NaN where it has none.
        curves: Of ``"deletion"`` and ``"insertion"`` the map's curve and those of random maps, ``(1 + R, steps + 1)``.
        areas: ``(1 + R,)`` of each: the area under them; NaN where undefined.
        randomisation: How alike the map stays when the network's layers are drawn anew: 0 is best, 1 the same map.
        repeatability: How alike it is with other seeds: 1 is the same map.
        checks: What the user should know.
        provenance: How it was made.
    """

    _ARRAY = "values"

    method: str
    proper: str
    image: str
    target: str
    probability: float
    curves: dict[str, NDArray[np.float64]] = field(repr=False)
    areas: dict[str, NDArray[np.float64]] = field(repr=False)
    randomisation: float
    repeatability: float
    checks: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance, repr=False)

    @property
    def values(self) -> NDArray[np.float64]:
        """Deletion, insertion, randomisation and repeatability."""
        import numpy as np

        return np.array([self.areas["deletion"][0], self.areas["insertion"][0], self.randomisation, self.repeatability])

    def beaten(self, metric: str) -> int:
        """How many random maps the map is better than: of deletion those with a larger area, of insertion a smaller."""
        own, others = self.areas[metric][0], self.areas[metric][1:]
        return int((others > own).sum() if metric == "deletion" else (others < own).sum())

    def p_value(self, metric: str) -> float:
        """How likely a random map is to do as well: the share of those that do, the map itself counted among them."""
        others = len(self.areas[metric]) - 1
        return (1 + others - self.beaten(metric)) / (1 + others)

    @property
    def defined(self) -> bool:
        """Whether the map has a positive value."""
        return not math.isnan(self.areas["deletion"][0])

    @property
    def verdict(self) -> str:
        """What deletion and insertion come to, in a few words."""
        if not self.defined:
            return "nothing can be told"
        sure = [metric for metric in ("deletion", "insertion") if self.p_value(metric) < SURE]
        if len(sure) == 2:
            return "better than chance"
        return f"better than chance by {sure[0]} only" if sure else "not better than chance"

    def __str__(self) -> str:
        head = f"{self.image}, {self.target}, {self.proper}: {self.verdict}"
        if not self.defined:
            return f"{head}: the map has no positive value."
        total = len(self.areas["deletion"]) - 1
        parts = [
            f"deletion {self.areas['deletion'][0]:.3f} beats {self.beaten('deletion')} and insertion "
            f"{self.areas['insertion'][0]:.3f} beats {self.beaten('insertion')} of {total} random maps as smooth",
            f"{self.randomisation:.2f} alike with random weights",
            "the same map each time" if self.repeatability > EXACT else f"{self.repeatability:.2f} alike when repeated",
        ]
        return f"{head}: {'; '.join(parts)}.".replace(" -", " \N{MINUS SIGN}")

    def describe(self) -> dict[str, Any]:
        """What there is to say without a picture, as plain values."""
        measured = {
            metric: {
                "value": float(self.areas[metric][0]),
                "random": [float(each) for each in self.areas[metric][1:]],
                "beaten": self.beaten(metric),
                "p": self.p_value(metric),
            }
            for metric in ("deletion", "insertion")
        }
        return {
            "image": self.image,
            "method": self.method,
            "target": self.target,
            "probability": self.probability,
            "verdict": self.verdict,
            "words": str(self),
            **measured,
            "randomisation": self.randomisation,
            "repeatability": self.repeatability,
            "checks": list(self.checks),
        }

    def save(self, path: str | os.PathLike[str], **paper: Any) -> Path:
        """Write it: .json as numbers, any kind of picture as its curves among those of random maps.

        Args:
            path: Where to; an existing file is replaced.
            **paper: How a figure is set on paper: ``width``, ``columns``, ``dpi``, ``font``, ``size``, ``notes``,
                ``title``.

        Raises:
            OutputError: If the suffix is unknown or the file cannot be written.
        """
        from cnnviz.core.atomic import write_whole
        from cnnviz.drawing.files import ensure_writable
        from cnnviz.drawing.notes import NOTE_KEY
        from cnnviz.provenance import plain_text

        where = Path(path)
        ensure_writable(where, force=True, suffixes=CERTIFICATE_SUFFIXES)
        if where.suffix.lower() != ".json":
            self._save_figure(where, paper)
            return where
        record = json.loads(self.provenance.drawn(format="json").to_json())
        held = {"info": {"description": str(self), NOTE_KEY: record}, **_without_nan(self.describe())}
        write_whole(where, plain_text(json.dumps(held, ensure_ascii=False, indent=1, allow_nan=False)).encode() + b"\n")
        return where

    def _save_figure(self, where: Path, how: dict[str, Any]) -> None:
        import numpy as np

        from cnnviz.drawing.charts.charts import Curve, draw_curves
        from cnnviz.drawing.files import FIGURE_SUFFIXES, rasterise, steady_settings, write_figure, write_pixels
        from cnnviz.drawing.paper import Paper

        paper, _ = Paper.split(how)
        ending = where.suffix.lower()
        note = self.provenance.drawn(format=ending[1:], **paper.describe()).to_json()
        panels = []
        for metric in ("deletion", "insertion"):
            own, others = self.curves[metric][0], self.curves[metric][1:]
            low, high = np.quantile(others, [0.05, 0.95], axis=0)
            mine = Curve(paper.rename.get(self.method, self.proper), own, own, own)
            chance = Curve(
                f"{len(others)} random maps as smooth (5 to 95 %)", others.mean(axis=0), low, high, control=True
            )
            panels.append((f"{metric.capitalize()} {self.areas[metric][0]:.3f}", [mine, chance]))
        title = f"{self.image} \N{MIDDLE DOT} {self.target}" if paper.title is None else paper.title
        notes = () if paper.notes == "none" else (str(self),)
        with steady_settings(), paper.lettering():
            drawn = draw_curves(
                panels,
                along="% of the pixels changed",
                width=paper.inches or USUAL_WIDTH,
                title="" if title == "none" else title,
                notes=notes,
            )
            if ending in FIGURE_SUFFIXES:
                write_figure(where, drawn, note)
            else:
                write_pixels(where, rasterise(drawn, paper.dpi or (ON_PAPER if paper.inches else ON_SCREEN)), note)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@method
def certify(
    model: Model,
    image: ImagesLike,
    target: TargetLike = None,
    *,
    method: str = "gradcam",
    layer: str | None = None,
    budget: Annotated[int, Interval(ge=2, le=100_000)] = 28,
    maps: Annotated[int, Interval(ge=1, le=10_000)] = 50,
    draws: Annotated[int, Ge(1)] = 1,
    seed: Seed = 0,
) -> Certificate:
    """What can be told of one map of one photograph without annotation.

    Deletion and insertion of the map are compared with those of random maps that have its amplitude spectrum, so are as
    smooth and as strong, and random phases; the map is asked for again of networks whose layers are drawn anew, and
    with other seeds. It does not say that the map is right: it says whether it is better than knowing nothing.

    Args:
        model: The network.
        image: One picture.
        target: What is explained; None is the top class.
        method: The method that gives the map.
        layer: The layer it looks at; default: as the method chooses it.
        budget: Steps of each curve; every map takes about twice as many forwards.
        maps: Random maps.
        draws: Seeds of the weights that are drawn anew.
        seed: Seed of the phases, the weights and the method.

    Returns:
        The certificate; as text it is one line.

    Raises:
        UnknownNameError: If there is no such method, layer or label.
        UsageError: If there are several pictures, or the method gives no map.
        PictureError: If the picture cannot be read.

    Reference:
        Petsiuk et al., RISE, BMVC 2018 (deletion, insertion); Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS
        2018 (randomisation); Theiler et al., Testing for nonlinearity in time series, Physica D 1992 (random phases).
    """
    import numpy as np

    from cnnviz.engine.undisturbed import undisturbed
    from cnnviz.errors import UsageError
    from cnnviz.evaluation.controls import random_phases
    from cnnviz.evaluation.explain import settled_batch
    from cnnviz.evaluation.faithfulness import area, removal_curves
    from cnnviz.evaluation.randomisation.mprt import randomisation
    from cnnviz.evaluation.robustness import repeatability
    from cnnviz.evaluation.study.assessor import make_case
    from cnnviz.evaluation.study.candidates import read_candidates
    from cnnviz.images.inputs import gather
    from cnnviz.methods.occlusion.scorer import Scorer
    from cnnviz.methods.prepare import provenance_of

    given: Any = gather(image, model.preprocess.entrance)
    if len(given) != 1:
        raise UsageError(f"A certificate is of one picture; got {len(given)}. Judge several with evaluate.")
    (candidate,) = read_candidates(model, [method], settings={} if layer is None else {"layer": layer})
    asked = {candidate.name: candidate.explain}
    with undisturbed(model.module):
        batch = settled_batch(model, given, target)
        inputs, targets = model.to_device(batch.inputs), list(batch.targets)
        own = candidate.explain(model, inputs, targets, seed)
        scorer = Scorer(model, inputs, targets)
        case = make_case(scorer, inputs, targets[0], seed=seed)
        probability = float(case.probability(case.inputs)[0]) if model.head.probable else math.nan
        several = np.concatenate([own, random_phases(own[0], maps, seed)])
        curves = removal_curves(case, several, ("deletion", "insertion"), steps=budget)
        alike = randomisation(model, inputs, targets, asked, seed=seed, draws=draws)
        again = repeatability(model, inputs, targets, asked)
    return Certificate(
        candidate.name,
        candidate.proper,
        batch.pictures[0].name,
        str(targets[0]),
        probability,
        curves,
        {name: area(each) for name, each in curves.items()},
        float(alike[0, 0]),
        float(again[0, 0]),
        tuple(dict.fromkeys((*batch.checks, *scorer.checks))),
        provenance_of(model, batch, targets=(str(targets[0]),), layer=layer, seed=seed),
    )
