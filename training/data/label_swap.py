"""Wrong labels on purpose: objects of a label map swap their class (Lis et al., ICCV 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.label_spaces import CLASSES, VOID
from training.data.labelled_frames import DatasetError

OBJECT_FRACTION = 0.5  # of the objects: Lis et al., section 3.2
BACKGROUND_FRACTION = 0.25  # of the background components, in their rebuttal's variant


@dataclass(frozen=True)
class SwapRule:
    """How many regions take another class, and out of how many classes.

    The paper draws floor(fraction * count) objects, so that a frame with one object never has an
    error to learn from. at_least_one draws one there: more frames teach, at the price of a set that
    is no longer the paper's.
    """

    classes: int = CLASSES
    fraction: float = OBJECT_FRACTION
    background_fraction: float = BACKGROUND_FRACTION
    at_least_one: bool = False  # object, where there is one

    def __post_init__(self) -> None:
        if not 2 <= self.classes < VOID:
            raise DatasetError(
                f"{self.classes} classes; expected 2..{VOID - 1}: a swap needs another class"
            )
        for name in ("fraction", "background_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise DatasetError(f"{name} is {getattr(self, name)}; expected a share in 0..1")


@dataclass(frozen=True, eq=False)
class Swap:
    """A label map with regions of a wrong class.

    labels: uint8 [H, W] class ids, 255 void. errors: bool [H, W], changed and inside the region.
    objects, background: ids of the regions that were drawn, void ones included.
    """

    labels: np.ndarray
    errors: np.ndarray
    objects: tuple[int, ...]
    background: tuple[int, ...] = ()


def swap_labels(
    labels: np.ndarray,
    objects: np.ndarray,
    rng: np.random.Generator,
    rule: SwapRule = SwapRule(),
    *,
    background: np.ndarray | None = None,
    region: np.ndarray | None = None,
) -> Swap:
    """Give some regions another class, as Lis et al., ICCV 2019, made their training data.

    labels: uint8 [H, W] class ids, 255 void. objects, background: integers [H, W], a positive id
    for each region, 0 elsewhere (see `training.data.instances`); without `background` only objects
    change. region: bool [H, W], where errors count; None means everywhere.

    Of n objects floor(fraction * n) are drawn, each as likely. The class of an object is the most
    frequent one in it; all of the object takes another, each of the others as likely, the road and
    the sky included. An object whose most frequent class is void stays as it is, and its draw is
    spent. Raises DatasetError for maps that do not fit together and for ids that are no class.
    """
    _check(labels, rule.classes, {"objects": objects, "background": background, "region": region})
    swapped = labels.copy()
    drawn = _draw(objects, rng, rule.fraction, int(rule.at_least_one))
    _change(swapped, labels, objects, drawn, rng, rule.classes)
    drawn_background: tuple[int, ...] = ()
    if background is not None:
        drawn_background = _draw(background, rng, rule.background_fraction)
        _change(swapped, labels, background, drawn_background, rng, rule.classes)
    errors = swapped != labels
    if region is not None:
        errors &= region
    return Swap(swapped, errors, drawn, drawn_background)


def _draw(
    regions: np.ndarray, rng: np.random.Generator, fraction: float, least: int = 0
) -> tuple[int, ...]:
    """Ids of floor(fraction * n) of the n regions, of `least` where that is more."""
    ids = np.unique(regions)
    ids = ids[ids > 0]
    count = min(ids.size, max(least, math.floor(fraction * ids.size)))
    return tuple(rng.choice(ids, count, replace=False).tolist())


def _change(
    swapped: np.ndarray,
    labels: np.ndarray,
    regions: np.ndarray,
    drawn: tuple[int, ...],
    rng: np.random.Generator,
    classes: int,
) -> None:
    """Give the drawn regions another class, in place."""
    for region_id in drawn:
        mask = regions == region_id
        current = int(np.bincount(labels[mask]).argmax())
        if current == VOID:
            continue
        other = int(rng.integers(classes - 1))
        swapped[mask] = other + (other >= current)


def _check(labels: np.ndarray, classes: int, maps: dict[str, np.ndarray | None]) -> None:
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DatasetError(f"labels are {labels.dtype} {list(labels.shape)}; expected uint8 [H, W]")
    strange = np.unique(labels[(labels >= classes) & (labels != VOID)])
    if strange.size:
        raise DatasetError(
            f"labels hold {strange.tolist()}; expected classes 0..{classes - 1} and {VOID} void"
        )
    for name, values in maps.items():
        if values is None:
            continue
        kinds = "b" if name == "region" else "iu"
        if values.shape != labels.shape or values.dtype.kind not in kinds:
            raise DatasetError(
                f"{name} is {values.dtype} {list(values.shape)}; expected "
                f"{'bool' if kinds == 'b' else 'integers'} {list(labels.shape)} like the labels"
            )
