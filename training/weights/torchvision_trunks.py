"""ImageNet weights of torchvision, files that users bring, as the start of other networks' trunks.

Nothing is downloaded. Heads of a file (classifier, fc) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from training.weights.checkpoint import WeightsError, bare_state_dict, listed, read_checkpoint
from training.weights.loading import COUNTER


@dataclass(frozen=True)
class Trunk:
    """name: of torchvision's model. parts: what torchvision's keys begin with -> ours."""

    name: str
    parts: Mapping[str, str]

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Whether these look like torchvision's keys and not like ours."""
        return any(key.startswith(next(iter(self.parts))) for key in state)


def vgg_trunk(name: str, cuts: Mapping[str, int]) -> Trunk:
    """torchvision's chain `features` in pieces. cuts: our name of a piece -> the layer after it."""
    parts: dict[str, str] = {}
    first = 0
    for piece, end in cuts.items():
        parts |= {f"features.{i}.": f"{piece}.{i - first}." for i in range(first, end)}
        first = end
    return Trunk(name, parts)


VGG16 = vgg_trunk(  # to relu4_3: VggFeatures
    "vgg16", {"slices.0": 4, "slices.1": 9, "slices.2": 16, "slices.3": 23}
)
VGG19_BN = vgg_trunk(  # BayesianSegNet
    "vgg19_bn", {"enc1": 7, "enc2": 14, "enc3": 27, "enc4": 40, "enc5": 53}
)
RESNET101 = Trunk(  # PSPNet
    "resnet101",
    {
        "conv1.": "layer0.0.",
        "bn1.": "layer0.1.",
        **{f"layer{i}.": f"layer{i}." for i in range(1, 5)},
    },
)


def load_trunk(network: nn.Module, trunk: Trunk, file: Path) -> None:
    """Give the trunk of `network` the weights of a file of torchvision.

    Raises WeightsError for a file that lacks some of them or has them in other shapes.
    """
    own = network.state_dict()
    wanted = {key for key in own if key.startswith(tuple(trunk.parts.values()))}
    found = {
        key.replace(theirs, ours, 1): value
        for key, value in bare_state_dict(read_checkpoint(file)).items()
        for theirs, ours in trunk.parts.items()
        if key.startswith(theirs)
    }
    faults = sorted(
        key
        for key in wanted
        if not key.endswith(COUNTER) and (key not in found or found[key].shape != own[key].shape)
    )
    if faults:
        raise WeightsError(
            f"{file} is no {trunk.name} of torchvision that fits this {type(network).__name__}: "
            f"missing or of another shape are {listed(faults)}"
        )
    network.load_state_dict({**own, **{key: found[key] for key in wanted if key in found}})
