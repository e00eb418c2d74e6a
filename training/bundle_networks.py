"""A shipped bundle as the torch networks that it was exported from, with its weights."""

from __future__ import annotations

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BundleError
from training.bundle_weights import load_folded
from training.methods.image_resynthesis.light_pipeline import light_stages
from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_discrepancy import LightDiscrepancy
from training.networks.light_generator import LightGenerator
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.released import OBSNET, RESYNTHESIS
from training.stage import Stage


def bundle_stages(bundle: Bundle) -> list[Stage]:
    """The chain image -> labels, score in evaluation mode on the CPU, of any input size.

    It answers as the fp32 graphs do. Its batch norms are folded: not for further training, see
    `methods.obsnet.light_start`. Raises BundleError for a bundle of other networks.
    """
    if bundle.name == OBSNET.name:
        stages = [Segmentation(LightPyramid()), Observation(LightObserver())]
    elif bundle.name == RESYNTHESIS.name:
        stages = light_stages(LightPyramid(), LightGenerator(), LightDiscrepancy())
    else:
        raise BundleError(
            f"the torch networks of bundle {bundle.name} are not known here, only those of "
            f"{OBSNET.name} and {RESYNTHESIS.name}: use the checkpoint that it was exported from"
        )
    found = [spec.name for spec in bundle.stages]
    expected = [stage.name for stage in stages]
    if found != expected:
        raise BundleError(
            f"bundle {bundle.name} has the stages {', '.join(found)}, expected "
            f"{', '.join(expected)}: it was exported from other networks"
        )
    for stage, spec in zip(stages, bundle.stages, strict=True):
        load_folded(stage.get_submodule("network"), spec)
        stage.eval()
    return stages
