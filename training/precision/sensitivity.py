"""Which blocks int8 hurts: each is quantised alone and measured, and the worst stay in fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.precision.int8 import Block
from training.precision.parity import MAX_SCORE_ERROR, MIN_LABEL_AGREEMENT, Parity


@dataclass(frozen=True)
class Damage:
    """One block of one stage quantised alone; 1 = as much as the gate allows for all of them."""

    stage: str
    block: Block
    share: float


def damage(parity: Parity, score_range: float) -> float:
    """Flipped labels or score error, whichever is worse, as a share of what the gate allows."""
    flipped = (1 - parity.label_agreement) / (1 - MIN_LABEL_AGREEMENT)
    return max(flipped, parity.score_mean_error / (MAX_SCORE_ERROR * score_range))


def fewest(count: int, passes: Callable[[int], bool]) -> int | None:
    """The smallest k of 0..count with passes(k), as if it stayed true from there on; None where
    even `count` fails. Few calls: doubling, then halving."""
    low, high = -1, 0  # passes(low) is false
    while not passes(high):
        if high == count:
            return None
        low, high = high, min(count, max(1, 2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def worst_first(found: Sequence[Damage]) -> list[Damage]:
    """Most damaging first; equal ones in the order of the graph."""
    return sorted(found, key=lambda entry: -entry.share)
