"""The parts that are trained at the paper's size: what each of them is, as its checkpoints tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from anomaly_seg_ros.errors import AnomalySegError
from training.data.label_spaces import BY_NAME, LabelSpace
from training.methods.image_resynthesis.light_pipeline import VARIANTS
from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pspnet import PSPNet
from training.networks.road_autoencoder import RoadAutoencoder
from training.opened import CheckpointError, fill
from training.settings import ConfigError, settings_from

FAMILIES = ("bayes_segnet", "pspnet")  # of segmentations, as in `published.SEGMENTATIONS`


@dataclass(frozen=True)
class SegmentationPart:
    """family: one of FAMILIES. data: what it was trained on, a name of `catalogue.TRAINING_SETS`;
    space: its classes, a name of `label_spaces.BY_NAME`; size: rows and columns of its frames.
    width: factor of the Bayesian SegNet's channels."""

    KEY: ClassVar[str] = "resynthesis_segmentation"  # where a checkpoint keeps it

    family: str = "bayes_segnet"
    data: str = "cityscapes"
    space: str = "cityscapes"
    size: tuple[int, int] = (512, 1024)
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES or self.space not in BY_NAME:
            raise AnomalySegError(
                f"segmentation {self.family!r} of the classes of {self.space!r}; expected one of "
                f"{', '.join(FAMILIES)} of one of {', '.join(BY_NAME)}"
            )
        if self.family == "pspnet" and self.width != 1.0:
            raise AnomalySegError(f"pspnet has no other widths than 1, found {self.width:g}")

    @property
    def classes(self) -> LabelSpace:
        """What the outputs are."""
        return BY_NAME[self.space]

    def build(self) -> BayesianSegNet | PSPNet:
        """A new network."""
        if self.family == "pspnet":
            return PSPNet(len(self.classes.names))
        return BayesianSegNet(len(self.classes.names), width=self.width)

    def open(self, path: Path, content: Mapping[str, Any]) -> BayesianSegNet | PSPNet:
        """The network of a checkpoint, in evaluation mode. Raises CheckpointError."""
        network = self.build()
        fill(path, content, {"segmentation.": network}, f"{self.family} of width {self.width:g}")
        return network


@dataclass(frozen=True)
class DiscrepancyPart:
    """variant: a name of VARIANTS. data: whose frames the stored set swaps labels of; size: theirs.
    width: factor of the channels."""

    KEY: ClassVar[str] = "discrepancy"

    variant: str = "full"
    data: str = "cityscapes"
    size: tuple[int, int] = (512, 1024)
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise AnomalySegError(
                f"unknown variant {self.variant!r}; expected one of {', '.join(VARIANTS)}"
            )

    def build(self) -> DiscrepancyNetwork:
        """A new network. Without synthesis, too, borders are reflected: class 0 is no border."""
        return DiscrepancyNetwork(**VARIANTS[self.variant], width=self.width)

    def open(self, path: Path, content: Mapping[str, Any]) -> DiscrepancyNetwork:
        """The network of a checkpoint, in evaluation mode. Raises CheckpointError."""
        network = self.build()
        what = f"the discrepancy network {self.variant} of width {self.width:g}"
        fill(path, content, {"discrepancy.": network}, what)
        return network


@dataclass(frozen=True)
class RoadPart:
    """data: what the road autoencoder was trained on; size: rows and columns of its frames."""

    KEY: ClassVar[str] = "road_autoencoder"

    data: str = "cityscapes"
    size: tuple[int, int] = (512, 1024)

    def open(self, path: Path, content: Mapping[str, Any]) -> RoadAutoencoder:
        """The network of a checkpoint, in evaluation mode. Raises CheckpointError."""
        network = RoadAutoencoder()
        fill(path, content, {"autoencoder.": network}, "the road autoencoder")
        return network


AnyPart = TypeVar("AnyPart", SegmentationPart, DiscrepancyPart, RoadPart)


def as_plain(part: SegmentationPart | DiscrepancyPart | RoadPart) -> dict[str, Any]:
    """For a checkpoint that is read as tensors and plain values."""
    return {**asdict(part), "size": list(part.size)}


def part_of(kind: type[AnyPart], path: Path, content: Mapping[str, Any]) -> AnyPart:
    """What `as_plain` told. Raises CheckpointError for anything else."""
    try:
        part: AnyPart = settings_from(kind, content.get(kind.KEY), str(path))
    except ConfigError as error:
        raise CheckpointError(f"{error}. Expected what `python -m training fit` writes") from error
    return part
