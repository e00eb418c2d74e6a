"""Image Resynthesis' pipeline, stage by stage, against the numbers of the official code."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
import torch
from golden import vectors
from image_resynthesis_golden import LOGITS, METHOD, PROBABILITIES, network
from seeded import assert_mostly_equal, assert_near
from torch import Tensor, nn

from training.methods.image_resynthesis.paper_pipeline import (
    Dissimilarity,
    Resynthesis,
    Segmentation,
    SynthesisScaling,
)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def batch(name: str) -> Tensor:
    """A field of the vectors, batched."""
    return torch.from_numpy(vectors(METHOD, "pipeline_full")[name])[None]


@lru_cache
def discrepancy() -> nn.Module:
    return network("discrepancy_full_0521")


def synthesis() -> Tensor:
    """The generator's image, in 0..1."""
    return (batch("gen_raw") + 1) / 2


@pytest.mark.slow
def test_the_segmentation_agrees() -> None:
    golden = batch("pred_labels_trainid")

    logits, labels = Segmentation(network("pspnet_bdd_0121"))(batch("image"))

    assert labels.dtype == torch.uint8 and logits.shape == (1, 19, *golden.shape[1:])
    assert_mostly_equal(labels, golden.numpy())


@pytest.mark.slow
def test_the_resynthesis_agrees() -> None:
    stage = Resynthesis(network("pix2pixhd_generator_0405"))

    [found] = stage(batch("pred_labels_trainid"))

    assert found.min() >= 0 and found.max() <= 1
    assert_near(found, synthesis()[0].numpy(), PROBABILITIES)
    levels = (256 * found).clamp(max=255).floor().permute(1, 2, 0)
    stored = vectors(METHOD, "pipeline_full")["gen_image_u8"]
    assert np.abs(levels.numpy() - stored).max() <= 1


@pytest.mark.parametrize(
    ("scaling", "pipeline"),
    [(SynthesisScaling.RAW, "joint"), (SynthesisScaling.UINT8, "staged")],
    ids=["joint", "staged"],
)
def test_the_dissimilarity_agrees_in_both_pipelines(
    scaling: SynthesisScaling, pipeline: str
) -> None:
    golden = vectors(METHOD, "pipeline_full")
    stage = Dissimilarity(discrepancy(), scaling)
    read = (batch("image"), synthesis(), batch("pred_labels_trainid"))

    [logits], [score] = stage.logits(*read), stage(*read)

    assert_near(logits, golden[f"logits_{pipeline}"], LOGITS)
    assert_near(score, golden[f"anomaly_p_{pipeline}"], PROBABILITIES)


def test_by_default_the_synthesis_comes_as_training_saw_it_but_for_whole_grey_levels() -> None:
    golden = vectors(METHOD, "pipeline_full")
    stage = Dissimilarity(discrepancy())
    read = (batch("image"), synthesis(), batch("pred_labels_trainid"))

    [score] = stage(*read)

    to_staged, to_joint = (
        np.abs(score.numpy() - golden[f"anomaly_p_{pipeline}"]).mean()
        for pipeline in ("staged", "joint")
    )
    assert to_staged < 0.1 * to_joint
