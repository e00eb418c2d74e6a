"""Image Resynthesis' published networks, by what they are and the number of their experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator, MultiscaleDiscriminator
from training.networks.pspnet import PSPNet
from training.networks.road_autoencoder import RoadAutoencoder
from training.weights.checkpoint import rows

SEGNET_LAST = "dec1.decode.4.weight"
PSPNET_LAST = "final.4.weight"

NETWORKS: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "discrepancy_full_0521": lambda state: DiscrepancyNetwork(),
    "discrepancy_gen_only_0516": lambda state: DiscrepancyNetwork(labels=False),
    "discrepancy_labels_only_0517": lambda state: DiscrepancyNetwork(
        synthesis=False, road_border=True
    ),
    "pix2pixhd_generator_0405": lambda state: GlobalGenerator(),
    "pix2pixhd_discriminator_0405": lambda state: MultiscaleDiscriminator(),
    "rbm_0525": lambda state: RoadAutoencoder(),
    "bayes_segnet_bdd_0120": lambda state: BayesianSegNet(rows(state, SEGNET_LAST, 19)),
    "pspnet_bdd_0121": lambda state: PSPNet(rows(state, PSPNET_LAST, 19)),
}
