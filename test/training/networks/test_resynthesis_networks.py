"""Image Resynthesis' own networks where no golden vector reaches: sizes, borders, scales."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import (
    TO_LABEL_ID,
    GlobalGenerator,
    MultiscaleDiscriminator,
    label_ids_one_hot,
    to_uint8,
)
from training.networks.road_autoencoder import RoadAutoencoder
from training.networks.vgg_features import VggFeatures

WIDTH = 1 / 16
VARIANTS = {
    "full": {},
    "without labels": {"labels": False},
    "without synthesis": {"synthesis": False},
    "without synthesis, road around": {"synthesis": False, "road_border": True},
}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def views(height: int, width: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 20, (2, height, width), generator=draw)
    return {
        "image": torch.randn(2, 3, height, width, generator=draw),
        "synthesis": torch.randn(2, 3, height, width, generator=draw),
        "labels": torch.where(labels == 19, 255, labels).to(torch.uint8),
    }


def read_by(network: DiscrepancyNetwork, inputs: dict[str, Tensor]) -> list[Tensor]:
    return [inputs[name] for name in network.reads]


def by_hand(values: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Tensor:
    edges = [(0, 0)] * (values.ndim - 2) + [rows, columns]
    return torch.from_numpy(np.pad(values.numpy(), edges, mode=mode))


@pytest.mark.parametrize("flags", VARIANTS.values(), ids=VARIANTS)
def test_a_discrepancy_of_odd_size_is_that_of_the_padded_inputs(flags):
    network = DiscrepancyNetwork(width=WIDTH, **flags).eval()
    inputs = views(61, 125)
    rows, columns = (1, 2), (1, 2)  # to 64x128, the smaller half above and to the left
    padded = {
        name: by_hand(
            values,
            rows,
            columns,
            "constant" if name == "labels" and flags.get("road_border") else "reflect",
        )
        for name, values in inputs.items()
    }

    logits = network(*read_by(network, inputs))
    expected = network(*read_by(network, padded))[..., 1:62, 1:126]

    assert logits.shape == (2, 2, 61, 125)
    assert torch.equal(logits, expected)


@settings(deadline=None, max_examples=10)
@given(height=st.integers(9, 50), width=st.integers(9, 50))
def test_the_discrepancy_has_the_size_of_the_image(height, width):
    network = DiscrepancyNetwork(width=WIDTH).eval()

    assert network(*read_by(network, views(height, width))).shape == (2, 2, height, width)


def test_road_around_the_labels_changes_the_border():
    network = DiscrepancyNetwork(width=WIDTH, synthesis=False).eval()
    inputs = views(61, 125)
    reflected = network(*read_by(network, inputs))
    network.road_border = True

    assert not torch.allclose(network(*read_by(network, inputs)), reflected)


def test_training_pads_nothing():
    network = DiscrepancyNetwork(width=WIDTH)
    inputs = views(24, 40)

    trained = network.train()(*read_by(network, inputs))
    evaluated = network.eval()(*read_by(network, inputs))

    assert trained.shape == evaluated.shape == (2, 2, 24, 40)
    assert not torch.allclose(trained, evaluated)  # 24x40 is padded to 32x48 there


def test_the_upper_left_part_of_a_larger_synthesis_counts():
    network = DiscrepancyNetwork(width=WIDTH).eval()
    inputs = views(30, 50)
    larger = by_hand(inputs["synthesis"], (0, 2), (0, 14), "constant")

    logits = network(inputs["image"], larger, inputs["labels"])

    assert torch.equal(logits, network(*read_by(network, inputs)))


def test_every_label_beyond_the_classes_is_none():
    network = DiscrepancyNetwork(width=WIDTH, synthesis=False).eval()
    image = views(32, 32)["image"]
    answers = [
        network(image, torch.full((2, 32, 32), label, dtype=torch.uint8))
        for label in (18, 19, 200, 255)
    ]

    assert not torch.allclose(answers[0], answers[1])
    assert torch.equal(answers[1], answers[2])
    assert torch.equal(answers[1], answers[3])


def test_an_input_too_few_is_refused():
    network = DiscrepancyNetwork(width=WIDTH)

    with pytest.raises(ValueError):
        network(*read_by(network, views(32, 32))[:2])


def test_the_feature_levels_halve_and_stay_as_they_were():
    extractor = VggFeatures(width=WIDTH).eval()
    image = views(32, 48)["image"]

    levels = extractor(image)

    assert [tuple(level.shape[1:]) for level in levels] == [
        (4, 32, 48),
        (8, 16, 24),
        (16, 8, 12),
        (32, 4, 6),
    ]
    assert torch.equal(levels[0], extractor.slices[0](image))  # no later layer wrote into it


def test_each_train_id_lights_the_channel_of_its_label_id():
    labels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)

    spread = label_ids_one_hot(labels)

    assert spread.shape == (1, 35, 16, 16)
    assert (spread.sum(1) == 1).all()
    np.testing.assert_array_equal(spread.argmax(1), TO_LABEL_ID[labels.numpy()])
    assert TO_LABEL_ID[[0, 13, 18, 19, 255]].tolist() == [7, 26, 33, 0, 0]


def test_grey_levels_are_cut_off_and_limited():
    values = torch.tensor([-1.0, -0.99, 0.0, 0.0077, 0.9999, 1.0])

    assert to_uint8(values).tolist() == [0, 1, 128, 128, 255, 255]


@pytest.mark.parametrize("size", [(32, 48), (37, 51), (61, 125)])
def test_the_generated_image_is_the_upper_left_part_of_what_the_layers_give(size):
    generator = GlobalGenerator(5, channels=4, blocks=2, downsamplings=3).eval()
    labels = torch.rand(1, 5, *size)

    image = generator(labels)

    height, width = size
    assert image.shape == (1, 3, height, width)
    assert image.abs().max() <= 1
    whole = generator.model(labels)
    assert whole.shape[-2:] == (-(-height // 8) * 8, -(-width // 8) * 8)
    assert torch.equal(image, whole[..., :height, :width])


def test_instance_statistics_hold_in_evaluation_too():
    generator = GlobalGenerator(5, channels=4, blocks=1, downsamplings=2)
    labels = torch.rand(2, 5, 32, 32)

    assert torch.equal(generator.train()(labels), generator.eval()(labels))


def test_the_coarse_scale_sees_the_pooled_input():
    discriminator = MultiscaleDiscriminator(6, channels=4)
    state = discriminator.state_dict()
    same = {key: state[key.replace("scale0", "scale1")] for key in state}
    discriminator.load_state_dict(same)
    values = torch.rand(1, 6, 64, 96)
    # The mean of what lies inside, not of the padding: ones stay ones.
    inside = functional.avg_pool2d(functional.pad(torch.ones_like(values), [1] * 4), 3, 2)
    pooled = functional.avg_pool2d(functional.pad(values, [1] * 4), 3, 2) / inside

    _, coarse = discriminator(values)
    fine, _ = discriminator(pooled)

    assert len(coarse) == len(fine) == 5
    for ours, theirs in zip(coarse, fine, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_first_scale_is_the_one_of_full_resolution():
    discriminator = MultiscaleDiscriminator(6, channels=4)
    values = torch.rand(1, 6, 64, 96)

    fine, coarse = discriminator(values)

    assert torch.equal(fine[0], discriminator.get_submodule("scale1_layer0")(values))
    assert fine[0].shape[-2:] == (33, 49)
    assert coarse[0].shape[-2:] == (17, 25)
    assert fine[-1].shape[1] == 1
    assert (fine[-1] < 0).any()  # a verdict has no activation


def folded(image: Tensor, network: RoadAutoencoder) -> tuple[Tensor, Tensor]:
    """The road autoencoder of one image by torch's own unfold and fold."""
    size, grid = image.shape[-2:], {"kernel_size": 8, "stride": 6}
    values = functional.unfold(image, **grid)[0].T  # [patches, 192]
    means = values.mean(1, keepdim=True)
    patches = (values - means) / 255
    weight, bias = network.linear_layer.weight, network.linear_layer.bias
    found = (patches @ weight.T + bias).sigmoid() @ weight + network.bias_visible
    error = (patches - found).abs().mean(1, keepdim=True)
    score = (1 - (error.mean() / error).clamp(0, 1)).expand(-1, 192)
    pixels = (found * 255 + means).clamp(0, 255)

    def laid(patches: Tensor) -> Tensor:
        count = functional.fold(torch.ones_like(patches).T[None], size, **grid)
        return functional.fold(patches.T[None], size, **grid) / count.clamp(min=1)

    return laid(score)[:, 0], laid(pixels)


@settings(deadline=None, max_examples=20)
@given(height=st.integers(8, 40), width=st.integers(8, 40))
def test_the_road_autoencoder_equals_unfolding_and_folding(height, width):
    network = RoadAutoencoder()
    network.bias_visible.normal_(std=0.02)
    image = torch.rand(1, 3, height, width) * 255

    for ours, theirs in zip(network(image), folded(image, network), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_pixels_beyond_the_grid_of_patches_are_zero():
    score, reconstruction = RoadAutoencoder()(torch.full((1, 3, 23, 31), 90.0))

    assert (reconstruction[..., :20, :26] > 0).all()  # 8 and two or three steps of 6
    for values in (score, reconstruction):
        assert not values[..., 20:, :].any()
        assert not values[..., 26:].any()


def test_the_score_of_an_image_knows_nothing_of_its_neighbours_in_the_batch():
    network = RoadAutoencoder()
    images = torch.rand(2, 3, 26, 32) * torch.tensor([255.0, 40.0]).reshape(2, 1, 1, 1)

    together, _ = network(images)

    for index, image in enumerate(images):
        alone, _ = network(image[None])
        torch.testing.assert_close(together[index], alone[0])
