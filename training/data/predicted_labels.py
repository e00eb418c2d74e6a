"""The labels that a bundle predicts, as the start of synthetic discrepancies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.replay.detection import bundle_hash
from training.bundle_segmenter import space_of
from training.data.label_spaces import VOID, LabelSpace


@dataclass(frozen=True)
class LabelPredictor:
    """A network that labels images.

    name: the network and its weights, for the record. `predict` takes an image uint8 [H, W, 3] RGB
    and returns labels uint8 [H, W], ids of `space` and 255 where it did not look.
    """

    name: str
    space: LabelSpace
    predict: Callable[[np.ndarray], np.ndarray] = field(repr=False)


def open_predictor(bundle: str | Path) -> LabelPredictor:
    """The label map of a bundle, by shipped name or folder. Raises BundleError, BackendError."""
    opened = Bundle.open(bundle)
    detector = Detector(opened)
    space = space_of(opened)
    # Ids of a bundle may have gaps; those of a label space are positions.
    position = np.full(256, VOID, np.uint8)
    for index, entry in enumerate(opened.classes[: len(space.names)]):
        position[entry.id] = index

    def predict(image: np.ndarray) -> np.ndarray:
        labels = detector.detect(image, ("labels",))[0].labels
        assert labels is not None  # it was wanted
        return position[labels]

    name = f"{opened.name} {bundle_hash(opened.folder)}"
    return LabelPredictor(name, space, predict)
