"""Light generator and discrepancy network: shapes, void, and what each variant looks at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.export import export_stages
from training.methods.image_resynthesis.light_pipeline import (
    VARIANTS,
    labels_at_stride_2,
    light_stages,
)
from training.networks.light_discrepancy import GROUPS, LightDiscrepancy, correlation
from training.networks.light_generator import LightGenerator, one_hot
from training.networks.light_pyramid import LightPyramid

SIZE = (64, 128)


@pytest.fixture(scope="module")
def generator() -> LightGenerator:
    torch.manual_seed(0)
    return LightGenerator().eval()


def test_an_image_is_twice_as_large_as_its_labels(generator: LightGenerator) -> None:
    labels = torch.randint(0, 19, (2, 16, 32), dtype=torch.uint8)
    image = generator(labels)
    assert image.shape == (2, 3, 32, 64)
    assert image.abs().le(1).all()


def test_void_is_a_channel_of_its_own() -> None:
    labels = torch.tensor([[[0, 18, 19, 254, 255]]], dtype=torch.uint8)
    channels = one_hot(labels, 19)
    assert channels.argmax(dim=1).tolist() == [[[0, 18, 19, 19, 19]]]
    assert channels.sum(dim=1).eq(1).all()


def test_the_label_of_a_place_changes_the_image_there(generator: LightGenerator) -> None:
    labels = torch.zeros(1, 32, 64, dtype=torch.uint8)
    other = labels.clone()
    other[:, 8:16, 8:16] = 13
    difference = (generator(other) - generator(labels)).abs().sum(dim=1)[0].detach()
    assert difference[16:32, 16:32].mean() > 3 * difference[:, 96:].mean()


def test_networks_are_as_small_as_promised(generator: LightGenerator) -> None:
    def millions(network: torch.nn.Module) -> float:
        return sum(p.numel() for p in network.parameters()) / 1e6

    assert millions(generator) < 6.0
    assert millions(LightDiscrepancy()) < 4.0


def test_the_correlation_of_a_map_with_itself_is_one() -> None:
    maps = torch.randn(2, 24, 4, 6)
    assert correlation(maps, maps).shape == (2, GROUPS, 4, 6)
    assert torch.allclose(correlation(maps, maps), torch.ones(2, GROUPS, 4, 6), atol=1e-3)
    assert torch.allclose(correlation(maps, -maps), -torch.ones(2, GROUPS, 4, 6), atol=1e-3)


def test_the_trunk_is_the_front_of_the_segmentation() -> None:
    segmentation, discrepancy = LightPyramid().eval(), LightDiscrepancy().eval()
    assert discrepancy.trunk is not None
    trained = segmentation.encoder.state_dict()
    discrepancy.trunk.load_state_dict({k: trained[k] for k in discrepancy.trunk.state_dict()})
    image = torch.randn(1, 3, *SIZE)
    maps = zip(discrepancy.trunk(image), segmentation.encoder(image), strict=False)
    assert all(torch.equal(ours, theirs) for ours, theirs in maps)


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(name, marks=() if name == "labels_only" else pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_a_chain_answers_in_onnx_as_in_torch(variant: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    stages = light_stages(
        LightPyramid().eval(), LightGenerator().eval(), LightDiscrepancy(**VARIANTS[variant]).eval()
    )
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, *SIZE, 3), dtype=np.uint8) for _ in range(2)]

    exported = export_stages(stages, images, tmp_path)

    names = [stage.description["name"] for stage in exported]
    expected = ["segmentation", "resynthesis", "dissimilarity"]
    assert names == [n for n in expected if variant != "labels_only" or n != "resynthesis"]
    score = exported[-1].description["outputs"][0]
    assert score == {"name": "score", "dtype": "float32", "shape": [1, 32, 64]}


def test_a_variant_without_labels_or_synthesis_ignores_them() -> None:
    maps = [torch.randn(1, c, 32 // s, 64 // s) for c, s in ((24, 2), (40, 4), (112, 8))]
    image = torch.rand(1, 3, 64, 128)
    labels = torch.zeros(1, 32, 64, dtype=torch.uint8)
    assert LightDiscrepancy(labels=False)(maps, image, None).shape == (1, 2, 16, 32)
    assert LightDiscrepancy(synthesis=False)(maps, None, labels).shape == (1, 2, 16, 32)
    with pytest.raises(ValueError, match="needs the synthesis, the labels or both"):
        LightDiscrepancy(synthesis=False, labels=False)


def test_labels_at_stride_2_follow_the_logits() -> None:
    logits = torch.zeros(1, 19, 4, 4)
    logits[:, 7, :, :2], logits[:, 3, :, 2:] = 5.0, 5.0
    labels = labels_at_stride_2(logits)
    assert labels.dtype == torch.uint8 and labels.shape == (1, 8, 8)
    assert labels[0, :, :4].eq(7).all() and labels[0, :, 4:].eq(3).all()
