"""What a fit sees of labelled frames: the network's outputs, and labels and scores on its grids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.baselines.base import BaselineError, Frames, features_of
from training.data.label_spaces import VOID
from training.segmenter import Segmenter


def labelled_logits(segmenter: Segmenter, frames: Frames) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits float32 [1, C, h, w] and labels int64 [1, h, w], 255 void, frame by frame.

    Raises BaselineError for no frames and for ids that the network has no class for.
    """
    for image, label in _checked(frames):
        logits = segmenter.logits(segmenter.prepare(image))
        yield logits, labels_at(label, logits)


def labelled_features(
    segmenter: Segmenter, frames: Frames
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits [1, C, h, w], features [1, D, h'', w''] and labels int64 [1, h'', w''] of each frame.

    Raises BaselineError as `labelled_logits`, and where there are no features.
    """
    for image, label in _checked(frames):
        logits, features = features_of(segmenter, image)
        labels_at(label, logits)  # the ids are those of the logits' classes
        yield logits, features, resized_labels(label, features)


def labels_at(label: Tensor, logits: Tensor) -> Tensor:
    """Labels [N, H, W] nearest to the cells of logits [N, C, h, w]: int64 [N, h, w].

    Raises BaselineError for an id that is neither a class nor void.
    """
    classes = logits.shape[1]
    strange = label[(label >= classes) & (label != VOID)]
    if strange.numel():
        raise BaselineError(
            f"a label holds id {int(strange.max())}, the network has classes 0..{classes - 1}: "
            f"fit on frames in its own label space, void as {VOID} and without pasted objects"
        )
    return resized_labels(label, logits)


def resized_labels(label: Tensor, like: Tensor) -> Tensor:
    """Labels [N, H, W] nearest to the cells of `like` [N, ..., h, w]: int64 [N, h, w]."""
    wide = label[:, None].to(like.device, torch.float32)
    return functional.interpolate(wide, size=like.shape[-2:], mode="nearest-exact")[:, 0].long()


def score_at(score: Tensor, like: Tensor) -> Tensor:
    """Score [N, h'', w''] bilinearly on the grid of `like` [N, ..., h, w]: float32 [N, h, w]."""
    score = score.float()
    if score.shape[-2:] == like.shape[-2:]:
        return score
    return functional.interpolate(score[:, None], size=like.shape[-2:], mode="bilinear")[:, 0]


def rows(cells: Tensor) -> Tensor:
    """[N, D, h, w] -> [N * h * w, D], in the order of `labels.flatten()`."""
    return cells.permute(0, 2, 3, 1).flatten(end_dim=2)


def _checked(frames: Frames) -> Iterator[tuple[Tensor, Tensor]]:
    """Image uint8 [1, H, W, 3] and label uint8 [1, H, W]."""
    none = True
    for image, label in frames:
        none = False
        if image.shape[:2] != label.shape:
            raise BaselineError(f"a label is {label.shape}, its image is {image.shape[:2]}")
        yield (
            torch.from_numpy(np.ascontiguousarray(image))[None],
            torch.from_numpy(np.ascontiguousarray(label))[None],
        )
    if none:
        raise BaselineError("there are no frames to fit on: give at least one labelled frame")
