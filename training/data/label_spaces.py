"""How the label ids of a dataset fold the 19 Cityscapes train ids of our networks.

A dataset with coarser classes supervises sums of class probabilities: the loss of a pixel labelled
with group g is -log sum(p_c for c in g), so every set can train the same 19 outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLASSES = 19  # Cityscapes train ids
VOID = 255  # no label: neither trained nor scored
OUTLIER = 254  # a pasted unknown object


@dataclass(frozen=True)
class LabelSpace:
    """Groups of train ids, one per label id of a dataset."""

    name: str
    groups: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]

    @property
    def matrix(self) -> np.ndarray:
        """Fold matrix float32 [19, groups]: probabilities @ matrix = group probabilities."""
        matrix = np.zeros((CLASSES, len(self.groups)), np.float32)
        for group, members in enumerate(self.groups):
            matrix[list(members), group] = 1.0
        return matrix


CITYSCAPES = LabelSpace(
    "cityscapes",
    tuple((train_id,) for train_id in range(CLASSES)),
    (
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "light",
        "sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
)
# CamVid's 11 classes in the order of the SegNet copy; 11 is void.
CAMVID = LabelSpace(
    "camvid",
    ((10,), (2, 3), (5,), (0,), (1,), (8, 9), (6, 7), (4,), (13, 14, 15, 16), (11,), (12, 17, 18)),
    (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
)
# IDD-Lite's 7 classes; riders count as living things, two-wheelers as vehicles.
IDD_LITE = LabelSpace(
    "idd_lite",
    ((0,), (1, 9), (11, 12), (13, 14, 15, 16, 17, 18), (3, 4, 5, 6, 7), (2, 8), (10,)),
    ("drivable", "non_drivable", "living", "vehicle", "roadside", "far", "sky"),
)
SPACES = (CITYSCAPES, CAMVID, IDD_LITE)
