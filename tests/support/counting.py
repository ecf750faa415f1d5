"""What a question costs."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode


def flops(run) -> int:
    """Floating point operations (2 for a multiplication and addition) that torch counts while something runs."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
