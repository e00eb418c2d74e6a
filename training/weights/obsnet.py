"""ObsNet's published networks. Class counts come from the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from training.networks.deep_v3plus_trunks import (
    DeepV3Plus,
    resnet_50,
    se_resnext_50,
    se_resnext_101,
)
from training.networks.deep_wide_resnet import DeepWV3Plus, DeepWV3PlusObserver
from training.networks.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusObserver
from training.networks.segnet import SegNet
from training.networks.segnet_observer import SegNetObserver, SmallSegNetObserver
from training.weights.checkpoint import rows

SEGNET_LAST = "up1.conv2.cbr_unit.0.weight"
DEEPLAB_LAST = "classifier.classifier.3.weight"
DEEP_V3PLUS_LAST = "final.6.weight"

NETWORKS: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "segnet_camvid": lambda state: SegNet(rows(state, SEGNET_LAST, 12)),
    "obsnet_segnet": lambda state: SegNetObserver(),
    "obsnet_segnet_small": lambda state: SmallSegNetObserver(),
    "deeplabv3plus_r101_os16_bdd19": lambda state: DeepLabV3Plus(rows(state, DEEPLAB_LAST, 19)),
    "deeplabv3plus_r101_os16_bdd19_obsnet": lambda state: DeepLabV3PlusObserver(
        rows(state, DEEPLAB_LAST, 19)
    ),
    "deeplabv3plus_r101_os16_streethazards14": lambda state: DeepLabV3Plus(
        rows(state, DEEPLAB_LAST, 14)
    ),
    "deeplabv3plus_r101_os16_streethazards14_obsnet": lambda state: DeepLabV3PlusObserver(
        rows(state, DEEPLAB_LAST, 14)
    ),
    "deepwv3plus_cityscapes19": lambda state: DeepWV3Plus(rows(state, DEEP_V3PLUS_LAST, 19)),
    "deepwv3plus_obsnet": lambda state: DeepWV3PlusObserver(),
    "deepv3plus_seresnext50_m1_19": lambda state: DeepV3Plus(
        se_resnext_50, rows(state, DEEP_V3PLUS_LAST, 19)
    ),
    "deepv3plus_seresnext101_m1_19": lambda state: DeepV3Plus(
        se_resnext_101, rows(state, DEEP_V3PLUS_LAST, 19)
    ),
    "deepv3plus_resnet50_m1_19": lambda state: DeepV3Plus(
        resnet_50, rows(state, DEEP_V3PLUS_LAST, 19)
    ),
}
