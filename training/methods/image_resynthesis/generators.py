"""The label-to-image generators, trained here or published, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.networks.light_generator import LightGenerator
from training.networks.pix2pixhd import GlobalGenerator, label_ids_one_hot, to_uint8
from training.weights import build, read_checkpoint
from training.weights.checkpoint import bare_state_dict

CHECKPOINT_KEY = "generator"  # of what a training checkpoint says about its generator
PUBLISHED = "image_resynthesis/pix2pixhd_generator_0405"


class Generator(Protocol):
    """Labels uint8 [N, h, w], void 255 -> image float32 [N, 3, s h, s w] in -1..1."""

    label_stride: int  # s
    classes: int

    def __call__(self, labels: Tensor) -> Tensor: ...

    def condition(self, labels: Tensor) -> Tensor:
        """What the discriminator sees beside the image: one-hot float32 [N, C, H, W]."""
        ...


class PaperGenerator(nn.Module):
    """pix2pixHD's global generator, fed with Cityscapes train ids at the image's size."""

    label_stride = 1

    def __init__(self, classes: int = 19, network: GlobalGenerator | None = None) -> None:
        super().__init__()
        if classes != 19:
            raise AnomalySegError(
                f"the paper's generator knows the 19 Cityscapes classes, not {classes}: train the "
                "light family on other label sets"
            )
        self.classes = classes
        self.network = GlobalGenerator() if network is None else network

    def forward(self, labels: Tensor) -> Tensor:
        return self.network(self.condition(labels))

    def condition(self, labels: Tensor) -> Tensor:
        return label_ids_one_hot(labels)


GENERATORS: dict[str, Callable[[int], LightGenerator | PaperGenerator]] = {
    "light": LightGenerator,
    "paper": PaperGenerator,
}


def label_cells(label: Tensor, generator: Generator) -> Tensor:
    """Labels [N, H, W] of the image's size -> at the generator's own, every s-th."""
    stride = generator.label_stride
    return label[:, ::stride, ::stride]


def to_pixels(image: Tensor) -> Tensor:
    """-1..1 float [N, 3, H, W] -> uint8 [N, H, W, 3]."""
    return to_uint8(image.float()).permute(0, 2, 3, 1)


def load_generator(path: Path) -> LightGenerator | PaperGenerator:
    """The generator of a checkpoint of `fit`, or the published one, in evaluation mode.

    Raises WeightsError for a file that holds neither.
    """
    content = read_checkpoint(path)
    described = content.get(CHECKPOINT_KEY)
    if not isinstance(described, Mapping):
        network = build(PUBLISHED, content)
        assert isinstance(network, GlobalGenerator)
        return PaperGenerator(network=network).eval()
    generator = GENERATORS[str(described["family"])](int(described["classes"]))
    state = bare_state_dict(content)
    part = {k.removeprefix("generator."): v for k, v in state.items() if k.startswith("generator.")}
    generator.load_state_dict(part)
    return generator.eval()


def open_generator(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Labels uint8 [N, H, W] (train ids, 255 void) -> images uint8 [N, H, W, 3] RGB.

    H and W: multiples of 16 for the light family, any for the published generator.
    """
    generator = load_generator(path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator.to(device)

    def render(labels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            cells = label_cells(torch.from_numpy(labels).to(device), generator)
            return to_pixels(generator(cells)).cpu().numpy()

    return render
