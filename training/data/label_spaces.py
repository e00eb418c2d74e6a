"""How the label ids of a dataset fold the 19 Cityscapes train ids of our networks.

A dataset with coarser classes supervises sums of class probabilities: the loss of a pixel labelled
with group g is -log sum(p_c for c in g), so every set of `SPACES` can train the same 19 outputs.
The other spaces have classes that Cityscapes lacks (an empty group) or lack some of its classes:
predictions can be folded for measuring, but the 19 outputs cannot be trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLASSES = 19  # Cityscapes train ids
VOID = 255  # no label: neither trained nor scored
OUTLIER = 254  # a pasted unknown object
NORMAL = 253  # something of the street, no class given: teaches the observer alone


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
# Yamaha-CMU Off-Road: unpaved ways. Its grass and heights of vegetation do not part Cityscapes'
# vegetation from terrain.
YAMAHA_CMU = LabelSpace(
    "yamaha_cmu",
    ((0, 1), (8, 9), (10,), (2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18)),
    ("trail", "green", "sky", "obstacle"),
)
SPACES = (CITYSCAPES, CAMVID, IDD_LITE, YAMAHA_CMU)
"""What the 19 outputs are trained on; a training crop names its space by position."""

# StreetHazards' 13 classes, which are CARLA's. There, "unlabelled" is mostly sky, "vehicle" has
# everything that drives and "pedestrian" those who ride it.
STREET_HAZARDS = LabelSpace(
    "street_hazards",
    (
        (10,),
        (2,),
        (4,),
        (),
        (11, 12),
        (5,),
        (),
        (0,),
        (1,),
        (8, 9),
        (13, 14, 15, 16, 17, 18),
        (3,),
        (6, 7),
    ),
    (
        "unlabelled",
        "building",
        "fence",
        "other",
        "pedestrian",
        "pole",
        "road_line",
        "road",
        "sidewalk",
        "vegetation",
        "vehicle",
        "wall",
        "sign",
    ),
)
# BDD-Anomaly: the train ids without train, motorcycle and bicycle, which are its anomalies.
BDD_ANOMALY = LabelSpace("bdd_anomaly", CITYSCAPES.groups[:16], CITYSCAPES.names[:16])

BY_NAME = {space.name: space for space in (*SPACES, STREET_HAZARDS, BDD_ANOMALY)}
