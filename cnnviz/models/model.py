"""Model: a network ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from cnnviz.core.dimensions import Size, is_dense, size_of
from cnnviz.core.head import Head, HeadLike, parse_head
from cnnviz.core.layer import AutomaticLayer, Layers, is_layer_name, split_call, split_function
from cnnviz.core.target import Target
from cnnviz.engine.arrangement import check_grid, layers_with_grid, say_grid
from cnnviz.engine.calls.steadiness import Steadiness, answers_again, observe_steadiness
from cnnviz.engine.detections import Detected, DetectionReader, check_reader, encode_detections, find_detections
from cnnviz.engine.layers import observe_layers, run
from cnnviz.engine.logits import TWO, EndWatch, OutputSelector, flatten_answer, recognise_head, select_logits, two_sided
from cnnviz.engine.scores.score import wants_logits
from cnnviz.engine.state.contents import Fingerprint
from cnnviz.engine.undisturbed import hookable_parts, intact, undisturbed
from cnnviz.engine.windows.bottlenecks import Bottlenecks, find_bottlenecks
from cnnviz.errors import ExplanationError, ParameterError, UnknownNameError, UsageError
from cnnviz.method import Network
from cnnviz.models.adapted import Adapted, Forward, Inputs, adapt, network_in
from cnnviz.models.assumptions import assume_preprocess
from cnnviz.models.labels import name_classes
from cnnviz.models.origin import guess_entrance
from cnnviz.models.preprocess import Preprocess
from cnnviz.models.summary import html_model, repr_model

__all__ = ["Model"]

T = TypeVar("T")

SOURCES = ("bundled", "torchvision", "timm")
"""Whose labels are those of classes that exclude each other."""
QUESTIONS = 256


class Model(Network):
    """A network ready to be asked: the module, its preprocessing, labels and layers, and where it came from.

    The module is never changed: not its mode, its flags, its gradients nor its hooks. It stays on the device it is on;
    every question runs it in evaluation mode and puts it back as it was.

    Attributes:
        asked_head: What the numbers of its output mean, as given; None where that is recognised.
        embedding: The layer whose output is its embedding; None for the network's output.
        memory_format: How its inputs lie in memory, where it is a copy made for speed.
        detecting: Whether it answered with detections.
        readable: Whether logits were found in what the network last returned.

    Args:
        module: A trained network that takes pictures ``(N, C, H, W)``, signals ``(N, C, T)`` or volumes
            ``(N, C, D, H, W)`` and returns logits ``(N, K)``. Wrappers of ``torch.compile`` are taken off; weights
            created in inference mode are copied privately.
        inputs: Of a network that takes more than the picture, the arguments of its forward by name (or in order), one
            of which is ``...``, the picture: ``{"image": ..., "age": tensor}``. The others are fixed: tensors
            ``(1, ...)`` are repeated for every picture, anything else is given as it is.
        forward: Of a network that is run in yet another way, a function of it (or of a copy of it) and the pictures
            that gives its output; or a method of it, or of a part, that takes pictures.
        mean: Mean that the network's training subtracted, a value per channel, on pixels in [0, 1].
        std: Standard deviation it divided by. Without mean and std, ImageNet's are taken for three channels and
            0 and 1 for any other number, and every result made from pictures says so.
        input_size: Side, or height and width, of the network's input in pixels; 224 if it is not given. One number is
            the length of a signal, three are depth, height and width of a volume; default: these keep their own size.
        resize: Length that a picture's shorter side gets before the centre crop; ``input_size`` if it is not given.
            ``"whole"`` crops nothing: all of the picture fits into the input, with black around it.
        labels: Names of the classes, in the order of the logits, or by index.
        channels: Input channels; read off the first convolution if not given.
        value_range: The values of pictures that stand for 0 and 1, such as ``(0, 4095)``; default: those of their type,
            or of the bits that 16-bit values use. Signals and volumes are then given as they are; of these also
            ``"window"``, that of a DICOM file, or ``"percentiles"``.
        rate: Samples a second of signals, or frames a second of clips, that it was trained with; others are resampled.
        spacing: Millimetres between the slices, rows and columns of volumes that it was trained with, likewise.
        standardise: Whether each channel of a signal or volume gets mean 0 and deviation 1.
        logits: Which part of a dict, tuple or object is the logits: a key, an index, an attribute, or a callable.
        head: What those numbers mean: ``"softmax"`` (logits of classes that exclude each other), ``"sigmoid"`` (of
            independent labels), ``"binary"`` (one logit, of the second of two labels), ``"probabilities"`` (in [0, 1]
            already), ``"value"`` or ``"value:UNIT"`` (a regression). Default: it is recognised by the network's end,
            the number of outputs and their values.
        detections: Of a detector that does not answer as torchvision's do (for each image a mapping with ``boxes``,
            ``scores`` and ``labels``): a function from its output to such mappings, or to one of batched tensors. Boxes
            are left, top, right and bottom in pixels of the input; scores ``(M, K)`` of all classes instead of labels
            are suppressed where boxes of one class overlap.
        embedding: The layer whose output is the embedding that ``"similar:FILE"`` compares: its ``(N, C)``, or the mean
            over places of maps and tokens. Default: it is the network's output.
        name: What to call the network in captions and files; default: its class's name.
        preprocess: A whole preprocessing, instead of mean, std, input_size, resize and channels.
        grid: Rows and columns on which tokens lie, where that cannot be recognised: a layer's output ``(N, T, C)`` with
            as many tokens, after up to eight that belong to no place, is read row by row.
        fixed_batch: The only batch size that the network takes, for one exported so; batches are padded to it.
        origin: Where the network came from, for provenance: plain values, no absolute path.

    Raises:
        ModelError: If the module cannot be hooked (TorchScript) or is a multi-device wrapper.
        ParameterError: If mean, std or sizes do not fit, or the network cannot be called with inputs or forward.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        inputs: Inputs = None,
        forward: Forward = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: int | Size | None = None,
        resize: int | tuple[int, int] | Literal["whole"] | None = None,
        labels: Sequence[str] | Mapping[int, str] | None = None,
        channels: int | None = None,
        value_range: tuple[float, float] | str | None = None,
        rate: float | None = None,
        spacing: float | Sequence[float] | None = None,
        standardise: bool | None = None,
        logits: OutputSelector = None,
        head: HeadLike = None,
        detections: DetectionReader | None = None,
        embedding: str | nn.Module | None = None,
        name: str | None = None,
        preprocess: Preprocess | None = None,
        grid: Size | None = None,
        fixed_batch: int | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.module = adapt(module, inputs, forward)
        self.name = name or type(network_in(self.module)).__name__
        self.labels = name_classes(labels)
        self.logits_part = logits
        self.asked_head = parse_head(head)
        self.detections = check_reader(detections, logits)
        self.detecting = False
        self._head: Head | None = None
        self.readable = True
        self.memory_format = torch.contiguous_format
        self._fixed_batch = fixed_batch
        self._steadiness: Steadiness | None = None
        self._answered_again: bool | None = None
        self.origin: dict[str, Any] = dict(origin or {"source": "memory"})
        self.opening: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()
        known = preprocess
        if known is None:
            known, self.notes = assume_preprocess(
                mean, std, input_size, resize, channels=channels, entrance=guess_entrance(self.module),
                standardise=standardise,
            )  # fmt: skip
        self.preprocess = known.refined(value_range, rate, spacing, standardise, resized=resize is not None)
        self.grid = check_grid(grid, self.places)
        say_grid(self.module, self.grid)
        self.automatic_layers: dict[tuple[object, ...], AutomaticLayer] = {}
        self._fingerprint = Fingerprint()
        self._observed: dict[tuple[int, ...], Layers] = {}
        self._bottlenecks: dict[tuple[int, ...], Bottlenecks | None] = {}
        self._dense: dict[tuple[int, ...], bool] = {}
        self.embedding: str | None = self.spell_layer(embedding)
        if self.embedding is not None:
            self.check_layer(str(self.embedding))

    __repr__, _repr_html_ = repr_model, html_model

    @property
    def places(self) -> int:
        """How many axes of places its input has: 1 of signals, 2 of pictures, 3 of volumes."""
        return self.preprocess.places

    @property
    def device(self) -> torch.device:
        """Where the network's weights are; the CPU for a network without any."""
        return next((tensor.device for tensor in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type the network computes in: that of its first floating weight."""
        return next((tensor.dtype for tensor in self._tensors() if tensor.is_floating_point()), torch.float32)

    @cached_property
    def layers(self) -> Layers:
        """Every layer with kind, output shape and receptive field, from one real forward of an empty picture."""
        return self.layers_on(self.preprocess.input_size)

    def layers_on(self, size: Size) -> Layers:
        """The layers for inputs of another size; one that was asked before is remembered.

        Raises:
            ModelError: If the network fails on inputs of that size.
            ParameterError: If no layer has as many tokens as the grid that was given.
        """
        size = tuple(map(int, size))
        known = id(self.module), *size
        if known not in self._observed:
            example = torch.zeros(self.fixed_batch or 1, self.preprocess.channels, *size)
            seen = self.intact(lambda: observe_layers(self.module, self.to_device(example)))
            self._observed[known] = layers_with_grid(seen, self.grid)
        return self._observed[known]

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the network is asked with: that which it takes, or 1 where the batch matters."""
        if self._fixed_batch is not None:
            return self._fixed_batch
        return 1 if self.steadiness.batch and self.steadiness.alone else None

    @property
    def steadiness(self) -> Steadiness:
        """Whether the network is a function of its picture: found out once, by a forward without values if possible."""
        if self._steadiness is None:
            example = torch.zeros(self._fixed_batch or 2, self.preprocess.channels, *self.preprocess.input_size)
            self._steadiness = self.intact(lambda: observe_steadiness(self.module, self.to_device(example)))
        return self._steadiness

    def answers_again(self, one: Tensor, logits: Tensor, targets: Sequence[Target]) -> bool:
        """Whether a picture ``(1, C, H, W)`` has the same logits ``(1, K)`` once more, in company; asked only once.

        Of a detector it is taken for granted.
        """
        if self._answered_again is None:
            known = (
                self.detecting
                or self.fixed_batch is not None
                or self.steadiness.random
                or not bool(logits.isfinite().all())
            )
            self._answered_again = bool(known) or answers_again(
                self.module, self.answering(targets), self.to_device(one), logits.detach()
            )
        return self._answered_again

    def gates_on(self, size: Size) -> Bottlenecks | None:
        """The bottlenecks for inputs of a size; None if there are none. A known answer is remembered."""
        if self.head.end or self.detecting or (isinstance(self.module, Adapted) and self.module.call.placed):
            return None
        known = id(self.module), *size
        if known not in self._bottlenecks:
            example = self.to_device(torch.zeros(1, self.preprocess.channels, *size))
            self._bottlenecks[known] = find_bottlenecks(self.module, self._logits_of, self.layers_on(size), example)
        return self._bottlenecks[known]

    def answers_pixels(self, inputs: Tensor) -> bool:
        """Whether it answers for every pixel of inputs like ``(N, C, H, W)``: asked of the first, and remembered."""
        known = id(self.module), *size_of(inputs)
        if known not in self._dense:
            some = inputs[:1].expand(self.fixed_batch or 1, *inputs.shape[1:])
            with torch.no_grad():
                self._dense[known] = is_dense(self.forward(self.to_device(some)))
        return self._dense[known]

    def _logits_of(self, module: nn.Module, inputs: Tensor) -> Tensor:
        return self.logits(module(inputs), len(inputs))

    @property
    def head(self) -> Head:
        """What the numbers of the output mean: as given, or recognised in the network's first answer."""
        return self._head or self.asked_head or Head()

    def remember_automatic_layer(self, key: tuple[object, ...], layer: AutomaticLayer) -> None:
        """Take a layer, found for one kind of question, as the one that is meant if none is named."""
        if len(self.automatic_layers) >= QUESTIONS:
            self.automatic_layers.clear()
        self.automatic_layers[key] = layer

    def logits(self, answer: Any, count: int) -> Tensor:
        """The logits ``(count, K)`` in what the network returned; of one logit for two classes both.

        Raises:
            ModelError: If there are none.
        """
        return self._both_sides(select_logits(answer, self.logits_part, count=count))

    def _both_sides(self, logits: Tensor) -> Tensor:
        one_of_two = logits.shape[1] == 1 and len(self.labels or ()) == TWO
        if self.head.kind == "binary" or (self.head.kind == "probabilities" and one_of_two):
            return two_sided(logits, 0 if self.head.kind == "binary" else 1)
        return logits

    def read(self, ask: Callable[[], Any], count: int) -> Tensor:
        """The logits ``(count, K)`` that the network is made to return, before a softmax or sigmoid at its end.

        Of a detector they are encoded detections ``(count, M, 6)``: boxes, labels and scores.

        Args:
            ask: Runs the network.
            count: How many images it is given.

        Raises:
            ModelError: If there are none in what it returns.
        """
        found = self._respond(ask, count)
        return found if isinstance(found, Tensor) else encode_detections(found)

    def _respond(self, ask: Callable[[], Any], count: int) -> Tensor | list[Detected]:
        watching = self._head is None or self._head.end
        with EndWatch() if watching else nullcontext() as end:
            answer = ask()
            plain = isinstance(answer, Tensor) or self.logits_part is not None
            if (self.detections or not plain) and (boxes := self._find_boxes(answer, count)) is not None:
                return boxes
            found = select_logits(answer, self.logits_part, count=count)
        if end is not None:
            before, name = end.before(found)
            self._head = self._head or recognise_head(self.asked_head, name, before, self.labels)
            found = before if self._head.end == name else found
        return self._both_sides(found)

    def _find_boxes(self, answer: Any, count: int) -> list[Detected] | None:
        found = find_detections(answer, self.detections, count)
        if found is not None and self.asked_head is not None:
            raise ParameterError(
                f"This network answers with boxes, which are no {self.asked_head}; leave out the head."
            )
        if found is not None:
            self._head, self.detecting = Head("probabilities"), True
        return found

    @property
    def known_classes(self) -> bool:
        """Whether its labels are those of its source, so that what its numbers mean is known."""
        return self.labels is not None and self.origin.get("source") in SOURCES and "labels" not in self.opening

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all layers, without running the network."""
        return tuple(name for name, _ in self.module.named_modules() if name)

    def spell_layer(self, layer: Any) -> Any:
        """The name of a module of this network; anything else as it is.

        Raises:
            UsageError: If the module is no part of this network.
        """
        if not isinstance(layer, nn.Module):
            return layer
        found = next((name for name, part in self.module.named_modules() if part is layer and name), None)
        if found is None:
            raise UsageError(
                f"The layer, a {type(layer).__name__}, is no part of '{self.name}'; give one, or its name."
            )
        return found

    def intact(self, ask: Callable[[], T], *others: Any) -> T:
        """Ask a question of this network and others; threads and interrupts change nothing in it, nor it in them."""
        return intact(ask, self.module, *(other.module for other in others))

    def check_layer(self, name: str) -> None:
        """Refuse a name that no layer has; ``"relu#2"``, a layer's second call, and ``"conv2+relu"`` are names.

        Raises:
            UnknownNameError: If there is no such layer; the message offers the nearest names.
            UsageError: If TorchScript has compiled it.
        """
        if not is_layer_name(name, self.layer_names):
            raise UnknownNameError("layer", split_call(name)[0], self.layer_names, "'cnnviz layers' lists them all.")
        plain = split_function(name)[0]
        if plain not in hookable_parts(self.module):
            raise UsageError(f"Layer '{plain}' is compiled by TorchScript, so nothing in it can be seen; name another.")

    def to_device(self, inputs: Tensor) -> Tensor:
        """Network inputs ``(N, C, H, W)`` on the network's device, in its floating type."""
        return inputs.to(self.device, self.dtype, non_blocking=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, K)`` of inputs ``(N, C, H, W)``, through whatever container the network returns.

        Raises:
            ModelError: If the network fails on this input, or no logits are found in what it returns.
        """
        return self.intact(lambda: self._forward(inputs))

    def respond(self, inputs: Tensor) -> Tensor | list[Detected]:
        """What :meth:`forward` gives, or of a detector all that it found on each input."""

        def ask() -> Tensor | list[Detected]:
            with self._evaluating():
                return self._respond(lambda: run(self.module, inputs), len(inputs))

        return self.intact(ask)

    def _forward(self, inputs: Tensor) -> Tensor:
        with self._evaluating():
            return self.read(lambda: run(self.module, inputs), len(inputs))

    def answer(self, inputs: Tensor, targets: Sequence[Target]) -> Tensor:
        """Logits ``(N, K)``; where there are none and no target needs them, all numbers in the output, ``(N, M)``.

        Args:
            inputs: ``(N, C, H, W)``.
            targets: What is explained.

        Raises:
            ModelError: If the network fails on this input, or no logits are found and a target needs them.
        """
        if wants_logits(targets):
            return self.forward(inputs)
        returned: list[Any] = []

        def ask() -> Any:
            returned.append(run(self.module, inputs))
            return returned[0]

        with self._evaluating():
            try:
                return self.read(ask, len(inputs))
            except ExplanationError:
                if not returned:
                    raise
                self.readable = False
        return flatten_answer(returned[0], len(inputs)).to(inputs.device)

    def answering(self, targets: Sequence[Target]) -> Callable[[Tensor], Tensor]:
        """:meth:`answer` for these targets, as a function of the inputs."""
        return lambda inputs: self.answer(inputs, targets)

    def _evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode, where any part of the network is in training mode."""
        training = any(part.training for part in self.module.modules())
        return undisturbed(self.module) if training else nullcontext()

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """What the network is given besides the picture, in a sentence; none where that is nothing."""
        return self.module.call.say() if isinstance(self.module, Adapted) else ()

    def fingerprint(self) -> str:
        """SHA-256 over names, shapes and bytes of all weights and buffers, hexadecimal."""
        return self._fingerprint.of(self.module)

    def describe(self) -> dict[str, Any]:
        """Plain values for provenance: name, origin, how it was opened, hash of the weights, preprocessing."""
        return {
            "name": self.name,
            **self.origin,
            **({"opening": self.opening} if self.opening else {}),
            **({} if self.head.kind == "softmax" and not self.head.end else {"head": str(self.head)}),
            **({"embedding": self.embedding} if self.embedding else {}),
            **(self.module.call.describe() if isinstance(self.module, Adapted) else {}),
            "weights_sha256": self.fingerprint(),
            "preprocess": self.preprocess.describe(),
        }

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.module.parameters()
        yield from self.module.buffers()
