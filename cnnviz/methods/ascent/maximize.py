"""Maximize: pictures that a network answers most to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from cnnviz.method import Seed, method
from cnnviz.methods.ascent.recipes import AscentPrecision, Parameterisation, RecipeName, Transformations

if TYPE_CHECKING:
    from cnnviz.core.target import TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.images import Images

__all__ = ["maximize"]


@method
def maximize(
    model: Model,
    target: TargetLike,
    start: ImagesLike | None = None,
    examples: ImagesLike | None = None,
    judge: Model | str | None = None,
    *,
    recipe: RecipeName = "auto",
    parameterisation: Parameterisation | None = None,
    transformations: Transformations | None = None,
    steps: Annotated[int, Ge(1)] | None = None,
    crops: Annotated[int, Ge(1)] | None = None,
    rate: Annotated[float, Gt(0)] | None = None,
    size: Annotated[int, Ge(8)] | None = None,
    seed: Seed = 0,
    frames: Annotated[int, Ge(0)] = 0,
    patience: Annotated[int, Ge(0)] = 0,
    precision: AscentPrecision = "full",
    compiled: bool = False,
    batch_size: Annotated[int, Ge(1)] | None = None,
) -> Images:
    """Synthetic images that maximise a class score or a unit's activation (feature visualization).

    For networks of signals and volumes these are signals and volumes, of waves over time or in space; their values lie
    within four deviations of the mean of the network's normalisation.

    From noise, or from a picture, step by step what raises the target's score: of a class the logit, never the
    softmax, which grows as well when all other classes shrink. The score alone is no measure: noise reaches the
    highest. So every step averages the gradients of several random views of the picture, and fine waves count less
    than coarse ones; and every picture is judged, see :func:`cnnviz.methods.ascent.quality.judge_images`.

    The recipes:

    - ``crops``: waves, four noisy crops a step; found by measurement, see ``benchmarks/maximize.md``;
    - ``whole``: waves, many steps of one view that shows the whole picture turned, scaled and shifted;
    - ``auto``: ``crops``, but ``whole`` for networks with an input of less than 128 pixels;
    - ``natural``: ``crops`` with the amplitudes of natural pictures, of which only the phases are changed (MACO);
    - ``lucid``: waves, one turned, scaled and shifted view a step;
    - ``dream``: an image pyramid and few small steps, for a picture to start from (DeepDream);
    - ``simonyan``: pixels with an L2 penalty, from the middle grey;
    - ``yosinski``: pixels with decay and a blur every fourth step.

    In the two pixel recipes a step is the gradient divided by its root mean square, so that ``rate`` means the same for
    every network. Gradients get past rectifiers that the start has left dead, for the first 16 steps.

    The weights are not touched, and their gradients are not computed; the forward ends at the target's layer. Each
    picture has random numbers of its own, drawn from the seed, the target and how often it was asked before, so on
    a CPU a picture is the same, bit for bit, whatever others are made with it. An interrupt keeps what there is.

    Args:
        model: The network.
        target: What is to be seen, or a list of it, a picture each: a class, ``"a - b"``, a unit ``"layer4:17"`` (its
            mean over all positions) or ``"layer4:17@3,3"``, a whole layer ``"layer4:*"``, a direction
            ``"layer4:FILE.npy"``, or a function of the logits. None is the top class of the picture to start from.
        start: A picture to start from, instead of noise.
        examples: Pictures of the network's world: how their channels vary together and, for ``phase``, their mean
            amplitudes are used instead of assumed ones.
        judge: A second network, or its name, that is asked what it sees.
        recipe: Preset for the settings below that are not given.
        parameterisation: Image parameterisation: Fourier, Fourier phases only (MACO), image pyramid, or pixels.
        transformations: Random transformations applied at each step.
        steps: Number of steps.
        crops: Random crops per step; the cost is steps times crops forwards per image.
        rate: Step size (learning rate).
        size: Shorter side of the picture in pixels.
        seed: Seed for everything drawn at random.
        frames: Snapshots, evenly spaced, for an animation; 0 takes them after 1, 2, 4, 8, ... steps.
        patience: Stop early if the mean score has not grown over this many steps; 0: never.
        precision: Precision of the network; bfloat16 is faster on devices that support it.
        compiled: Whether the network is compiled with torch.compile; for classes only.
        batch_size: Batch size (pictures); halved automatically if memory runs out. Default: 1 on a CPU and 8 elsewhere.

    Returns:
        Images with pixels ``(N, C, H, W)`` in [0, 1], with their scores, histories and quality records.

    Raises:
        TargetError: If a target cannot be understood, or the network has none such.
        UnknownNameError: If there is no such label, layer or judge.
        PictureError: If the picture to start from cannot be read.
        ParameterError: If the picture would be too small or too large.
        ExplanationError: If the score does not depend on the picture, or is not finite.

    Reference:
        Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, ICLR workshop 2014; Yosinski et al.,
        Understanding Neural Networks Through Deep Visualization, ICML workshop 2015; Olah, Mordvintsev and Schubert,
        Feature Visualization, Distill 2017; Fel et al., Unlocking Feature Visualization for Deeper Networks with
        MAgnitude Constrained Optimization, NeurIPS 2023.
    """
    from cnnviz.engine.state.modes import inference
    from cnnviz.methods.ascent.quality import judge_images
    from cnnviz.methods.ascent.request import choose_canvas, choose_recipe, parse_targets, read_start
    from cnnviz.methods.ascent.session import AscentSettings, Session
    from cnnviz.models.load import load_model

    second = load_model(judge) if isinstance(judge, str) else judge
    targets = parse_targets(model, target, started=start is not None)
    given = {"parameterisation": parameterisation, "transformations": transformations}
    chosen = choose_recipe(model, recipe, **given, steps=steps, crops=crops, rate=rate)
    with inference(mode=False):
        begun = None if start is None else read_start(model, start)
        canvas = choose_canvas(model, chosen, size, None if begun is None else begun[0])
        settings = AscentSettings(chosen, canvas, seed, frames, patience, precision, compiled, batch_size)
        session = Session(model, targets, settings, begun, examples)
        return judge_images(model, session.run(), second, score=session.score)
