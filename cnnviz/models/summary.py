"""A network in one line, and as a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnviz.core.notebook import html_table, repr_line, spell_sides

if TYPE_CHECKING:
    from cnnviz.models.model import Model

__all__ = ["html_model", "repr_model"]


def repr_model(model: Model) -> str:
    """``Model('resnet18', 1000 classes, 224 x 224, cpu)``: what is known without running the network."""
    return repr_line("Model", model.name, _spell_classes(model), spell_sides(model.preprocess.input_size), model.device)


def html_model(model: Model) -> str:
    """Its facts as a table: what is known without running the network."""
    known, weights = model.preprocess, sum(weight.numel() for weight in model.module.parameters())
    origin = model.origin.get("source")
    facts = {
        "input": f"{known.channels} channel{'s' if known.channels > 1 else ''}, {spell_sides(known.input_size)}",
        "answer": _spell_classes(model),
        "first labels": ", ".join((model.labels or ())[:3]),
        "embedding": model.embedding,
        "weights": f"{weights:,}, {str(model.dtype).removeprefix('torch.')}",
        "layers": len(model.layer_names),
        "from": origin if isinstance(origin, str) else None,
        "on": model.device,
        "note": "; ".join(model.notes),
    }
    return html_table(f"Model {model.name}", (), [fact for fact in facts.items() if fact[1]])


def _spell_classes(model: Model) -> str:
    count = len(model.labels or ())
    return f"{count} class{'es' if count > 1 else ''}" if count else "no labels"
