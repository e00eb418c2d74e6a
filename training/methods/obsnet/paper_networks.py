"""The paper's pairs of networks in training: built, started, and told apart in checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.methods.obsnet.paper_data import PAPER_DATA, PaperData
from training.networks.deep_wide_resnet import DeepWV3Plus, DeepWV3PlusObserver
from training.networks.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusObserver
from training.networks.pyramid_observer import PyramidObserver, PyramidSegmentation
from training.networks.segnet import ENCODER, SegNet, SegNetStages
from training.networks.segnet_observer import SegNetObserver, SmallSegNetObserver
from training.weights import WeightsError, read_checkpoint
from training.weights.checkpoint import bare_state_dict

# Families, and where the segmentation's answer (logits, then taps) has the features of baselines.
FAMILIES = {
    "segnet": 1 + SegNet.taps.index("up2"),
    "segnet_small": 1 + SegNet.taps.index("up2"),
    "deeplabv3plus": 1 + DeepLabV3Plus.taps.index("out"),
    "deepwv3plus": 1 + DeepWV3Plus.taps.index("decoder"),
    "pyramid": 1 + PyramidSegmentation.taps.index("pyramid_4"),
}
LAST_BLOCK = 7  # entries of the segmentation's state_dict that the observer does not start from
SEGMENTATION = "segmentation."  # before a key of the segmentation in a run's checkpoint
# Of torchvision's VGG-16 without batch norm: its convolutions among the features.
VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@dataclass(frozen=True)
class Networks:
    """Which networks a run trains; kept in its checkpoints.

    family: one of FAMILIES. width: factor of SegNet's channels. image, taps: False gives the
    observer zeros instead, the ablations of the paper. bounded: of the SegNet's observer.
    """

    KEY: ClassVar[str] = "networks"  # where a checkpoint keeps it

    family: str = "segnet"
    data: str = "camvid"
    size: tuple[int, int] = (360, 480)
    width: float = 1.0
    observed: bool = False
    image: bool = True
    taps: bool = True
    bounded: bool = True

    def __post_init__(self) -> None:
        if self.family not in FAMILIES or self.data not in PAPER_DATA:
            raise WeightsError(
                f"networks {self.family!r} on {self.data!r}; expected one of {', '.join(FAMILIES)} "
                f"on one of {', '.join(PAPER_DATA)}"
            )
        if self.width != 1.0 and self.family != "segnet":
            raise WeightsError(f"{self.family} has no other widths than 1, found {self.width}")
        if not self.bounded and self.family != "segnet":
            raise WeightsError(f"{self.family} has no bound on its logit: leave out bounded: false")

    @property
    def recipe(self) -> PaperData:
        """The dataset's."""
        return PAPER_DATA[self.data]

    def segmentation(self) -> nn.Module:
        """A new segmentation network."""
        if self.family == "deeplabv3plus":
            return DeepLabV3Plus(self.recipe.classes)
        if self.family == "deepwv3plus":
            return DeepWV3Plus(self.recipe.classes)
        if self.family == "pyramid":
            return PyramidSegmentation(self.recipe.classes)
        return SegNet(self.recipe.classes, width=self.width)

    def observer(self) -> nn.Module:
        """A new observer, which gets zeros for what is switched off."""
        observer: nn.Module
        if self.family == "deeplabv3plus":
            observer = DeepLabV3PlusObserver(self.recipe.classes)
        elif self.family == "deepwv3plus":
            observer = DeepWV3PlusObserver()
        elif self.family == "pyramid":
            observer = PyramidObserver()
        elif self.family == "segnet_small":
            observer = SmallSegNetObserver()
        else:
            observer = SegNetObserver(width=self.width, bounded=self.bounded)
        if not (self.image and self.taps):
            kept = [self.image if name == "image" else self.taps for name in observer.reads]
            observer.register_forward_pre_hook(
                lambda _, inputs: tuple(
                    value if keep else torch.zeros_like(value)
                    for value, keep in zip(inputs, kept, strict=True)
                )
            )
        return observer

    def as_plain(self) -> dict[str, Any]:
        """For a checkpoint that is read as tensors and plain values."""
        return {**asdict(self), "size": list(self.size)}

    @classmethod
    def of_checkpoint(cls, content: Mapping[str, Any]) -> Networks | None:
        """What `as_plain` told; None for a checkpoint of other networks."""
        told = content.get(cls.KEY)
        if not isinstance(told, Mapping) or not set(told) <= {field.name for field in fields(cls)}:
            return None
        return cls(**{**told, "size": tuple(told["size"])})


def observe(observer: nn.Module, image: Tensor, segmented: Sequence[Tensor], taps: Any) -> Tensor:
    """Logit [N, 1, H, W] of an observer. segmented: logits and taps; taps: their names."""
    values = {"image": image, "logits": segmented[0]}
    values |= dict(zip(taps, segmented[1:], strict=True))
    return observer(*(values[name] for name in observer.reads))  # type: ignore[union-attr]


def start_observer(observer: nn.Module, segmentation: nn.Module) -> tuple[str, ...]:
    """Copy the segmentation's weights, all but its last block; returns the keys copied.

    As the paper means it and the release's code intends: equal keys, but the last seven entries.
    There the keys never match, and the observer starts at random.
    """
    source, target = segmentation.state_dict(), observer.state_dict()
    copied = tuple(key for key in list(source)[:-LAST_BLOCK] if key in target)
    observer.load_state_dict({**target, **{key: source[key] for key in copied}})
    return copied


def start_segmentation(network: nn.Module, file: Path) -> None:
    """Weights of a run's checkpoint or of a published one; or SegNet's encoder from a VGG-16 of
    torchvision (`vgg16-397923af.pth`, without batch norm).

    Raises WeightsError for a file of other networks.
    """
    state = bare_state_dict(read_checkpoint(file))
    if "features.0.weight" in state and isinstance(network, SegNet):
        _start_encoder(network, state, file)
        return
    if any(key.startswith(SEGMENTATION) for key in state):
        state = {
            key.removeprefix(SEGMENTATION): value
            for key, value in state.items()
            if key.startswith(SEGMENTATION)
        }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        faults = "\n".join(str(error).splitlines()[:6])
        raise WeightsError(
            f"{file} does not start this {type(network).__name__}: {faults}\nExpected a checkpoint "
            "of the same network, width and classes"
        ) from error


def _start_encoder(network: SegNet, state: Mapping[str, Tensor], file: Path) -> None:
    units = [unit for stage in ENCODER for unit in network.get_submodule(stage).children()]
    for unit, place in zip(units, VGG_CONVOLUTIONS, strict=True):
        convolution = unit.get_submodule("cbr_unit.0")
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        for name, parameter in (("weight", convolution.weight), ("bias", convolution.bias)):
            found = state.get(f"features.{place}.{name}")
            if found is None or found.shape != parameter.shape:
                raise WeightsError(
                    f"{file}: features.{place}.{name} is "
                    f"{'missing' if found is None else list(found.shape)}, expected "
                    f"{list(parameter.shape)}: give a VGG-16 without batch norm, and a SegNet of "
                    "width 1"
                )
            parameter.data.copy_(found)


def with_indices(network: nn.Module) -> nn.Module:
    """The network, pooling and unpooling by torch's indices: equal, and faster where it trains."""
    if isinstance(network, SegNetStages):
        network.pool, network.unpool = _pool, _unpool
    return network


def _pool(values: Tensor) -> tuple[Tensor, tuple[Tensor, tuple[int, int]]]:
    pooled, indices = functional.max_pool2d(values, 2, return_indices=True)
    return pooled, (indices, (values.shape[-2], values.shape[-1]))


def _unpool(values: Tensor, places: tuple[Tensor, tuple[int, int]]) -> Tensor:
    return functional.max_unpool2d(values, places[0], (2, 2), output_size=places[1])


def frozen(network: nn.Module) -> nn.Module:
    """A copy for evaluation alone: no gradients of weights, batch norms folded into the
    convolutions before them where the two are neighbours."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for part in list(network.modules()):
        if not isinstance(part, nn.Sequential):
            continue
        for index in range(len(part) - 1):
            first, second = part[index], part[index + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                part[index] = fuse_conv_bn_eval(first, second)
                part[index + 1] = nn.Identity()
    return network.requires_grad_(False).to(memory_format=torch.channels_last)
