"""Image Resynthesis' exported networks in ONNX Runtime against the numbers of the official code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import vectors
from image_resynthesis_golden import (
    LOGITS,
    METHOD,
    PROBABILITIES,
    VARIANTS,
    answers,
    assert_same_image,
    discrepancy_inputs,
    exported,
    network,
    pixels,
)
from seeded import assert_near
from torch import Tensor, nn

from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator, label_ids_one_hot
from training.networks.road_autoencoder import RoadAutoencoder


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_exported_discrepancy_gives_the_golden_numbers(variant: str, tmp_path: Path) -> None:
    golden = vectors(METHOD, variant)
    discrepancy = network(variant)
    inputs = discrepancy_inputs(discrepancy, golden)

    [logits] = answers(exported(discrepancy, inputs, tmp_path), inputs)

    assert_near(logits[0], golden["logits"], LOGITS)
    assert_near(torch.from_numpy(logits[0]).softmax(0)[1], golden["anomaly_p"], PROBABILITIES)


@pytest.mark.slow
def test_the_exported_generator_gives_the_golden_image(tmp_path: Path) -> None:
    golden = vectors(METHOD, "pix2pixhd_generator")
    labels = label_ids_one_hot(torch.from_numpy(golden["labels_trainid"])[None])

    generator = exported(network("pix2pixhd_generator_0405"), [labels], tmp_path)
    [image] = answers(generator, [labels])

    assert_same_image(torch.from_numpy(image[0]), golden)


def test_the_exported_road_autoencoder_gives_the_golden_numbers(tmp_path: Path) -> None:
    golden = vectors(METHOD, "rbm")
    image = pixels(golden["image"])

    autoencoder = exported(network("rbm_0525"), [image], tmp_path)
    score, reconstruction = answers(autoencoder, [image])

    assert_near(score[0], golden["anomaly_p"], PROBABILITIES)
    assert_near(reconstruction[0].transpose(1, 2, 0), golden["reconstructed"], LOGITS)


class FromTrainIds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = GlobalGenerator(channels=4, blocks=1, downsamplings=2)

    def forward(self, labels: Tensor) -> Tensor:
        return self.generator(label_ids_one_hot(labels))


@pytest.mark.parametrize("kind", ["reflected", "road around", "generator", "road autoencoder"])
def test_exported_networks_of_odd_sizes_answer_as_in_torch(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    image, synthesis = torch.rand(2, 1, 3, 61, 53)
    labels = torch.randint(0, 256, (1, 61, 53), dtype=torch.uint8)
    small = 1 / 16
    network, inputs = {
        "reflected": (DiscrepancyNetwork(width=small), [image, synthesis, labels]),
        "road around": (
            DiscrepancyNetwork(width=small, synthesis=False, road_border=True),
            [image, labels],
        ),
        "generator": (FromTrainIds(), [labels]),
        "road autoencoder": (RoadAutoencoder(), [image * 255]),
    }[kind]
    found = network.eval()(*inputs)
    expected = found if isinstance(found, tuple) else (found,)
    graph = exported(network, inputs, tmp_path)

    for answer, ours in zip(answers(graph, inputs), expected, strict=True):
        np.testing.assert_allclose(answer, ours, atol=1e-4)
