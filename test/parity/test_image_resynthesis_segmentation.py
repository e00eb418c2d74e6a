"""Image Resynthesis' segmentation networks against the numbers of the official code."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import vectors
from image_resynthesis_golden import (
    LOGITS,
    METHOD,
    PROBABILITIES,
    answers,
    exported,
    network,
    normalised,
)
from seeded import assert_mostly_equal, assert_near
from torch import Tensor, nn

from training.baselines import mc_dropout
from training.baselines.deep_ensemble import DeepEnsemble
from training.baselines.mc_dropout import MCDropout
from training.baselines.samples import Samples, class_variance
from training.methods.image_resynthesis.published import BDD100K
from training.methods.image_resynthesis.segmentation_loss import pspnet_loss
from training.networks.bayesian_segnet import DROPPED
from training.segmenter import Segmenter

SEGNET, PSPNET = "bayes_segnet_bdd_0120", "pspnet_bdd_0121"
MEAN, STD = (
    (255 * red, 255 * green, 255 * blue) for red, green, blue in (BDD100K.mean, BDD100K.std)
)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@lru_cache
def segnet() -> nn.Module:
    return network(SEGNET)


def thinned(values: Any, golden: np.ndarray) -> np.ndarray:
    """[..., H, W] at the stride of the stored [..., h, w]."""
    stride = -(-values.shape[-1] // golden.shape[-1])
    return np.asarray(values)[..., ::stride, ::stride]


def test_bayesian_segnet_agrees() -> None:
    golden = vectors(METHOD, SEGNET)

    [logits] = segnet()(normalised(golden["image"]))

    assert logits.min() >= 0
    assert_near(thinned(logits, golden["logits_nodropout"]), golden["logits_nodropout"], LOGITS)


def test_the_variance_of_dropout_passes_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = vectors(METHOD, SEGNET)
    image = torch.from_numpy(golden["image"])[None]
    segmenter = Segmenter(segnet(), MEAN, STD, size=golden["image"].shape[:2])
    found: list[Samples] = []

    def measure(samples: Samples) -> Tensor:
        found.append(samples)
        return class_variance(samples)

    for passes in (1, 4):
        monkeypatch.setattr(mc_dropout, "_mask", RecordedMasks())
        scored = MCDropout(passes, measure=measure, mean_labels=True).score(segmenter, image)

    [first], [mean] = (samples.probabilities for samples in found)
    assert_near(thinned(first, golden["mc_sample0_prob"]), golden["mc_sample0_prob"], PROBABILITIES)
    assert_near(thinned(mean, golden["mc_mean_prob"]), golden["mc_mean_prob"], PROBABILITIES)
    assert_near(scored.score[0], golden["mc_var_sum"], PROBABILITIES)
    assert_mostly_equal(scored.labels[0], golden["mc_labels"])


class RecordedMasks:
    """The masks that the vectors were made with, in the order in which places drop."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, layer: nn.Module, values: Tensor, generator: torch.Generator) -> Tensor:
        sample, place = divmod(self.calls, len(DROPPED))
        self.calls += 1
        keys = (f"{sample}.{place}.{channel}" for channel in range(values.shape[1]))
        kept = [2.0 * (zlib.crc32(key.encode()) % 2) for key in keys]
        return values.new_tensor(kept)[:, None, None]


def test_pspnet_agrees() -> None:
    golden = vectors(METHOD, PSPNET)

    [logits] = network(PSPNET)(normalised(golden["image"]))

    assert_near(logits, golden["logits"], LOGITS)
    assert_mostly_equal(logits.argmax(0), golden["labels"])


def test_the_loss_of_pspnet_agrees() -> None:
    golden = vectors(METHOD, "losses_and_ensemble")
    logits, auxiliary = (torch.from_numpy(golden[name]) for name in ("psp_main", "psp_aux"))
    target = torch.from_numpy(golden["psp_target"].astype(np.int64))

    loss = pspnet_loss(logits, auxiliary, target)

    assert float(loss) == pytest.approx(float(golden["psp_loss"]), abs=1e-5)
    for scores, name in ((logits, "psp_loss_main"), (auxiliary, "psp_loss_aux")):
        assert float(pspnet_loss(scores, scores, target)) == pytest.approx(
            float(golden[name]), abs=1e-5
        )


class Answer(nn.Module):
    """Gives the same logits [1, C, H, W] for every image."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(logits))

    def forward(self, image: Tensor) -> Tensor:
        return self.logits


def test_the_variance_of_an_ensemble_agrees() -> None:
    golden = vectors(METHOD, "losses_and_ensemble")
    size = golden["ens_labels"].shape
    members = [Segmenter(Answer(logits), MEAN, STD, size=size) for logits in golden["ens_logits"]]
    image = torch.zeros((1, *size, 3), dtype=torch.uint8)

    scored = DeepEnsemble(members[1:], measure=class_variance).score(members[0], image)

    assert_near(scored.score[0], golden["ens_var"], 1e-5)
    assert_mostly_equal(scored.labels[0], golden["ens_labels"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "field"), [(SEGNET, "logits_nodropout"), (PSPNET, "logits")], ids=["segnet", "pspnet"]
)
def test_exported_networks_give_the_golden_numbers(name: str, field: str, tmp_path: Path) -> None:
    golden = vectors(METHOD, name)
    inputs = [normalised(golden["image"])]

    [logits] = answers(exported(network(name), inputs, tmp_path), inputs)

    assert_near(thinned(logits[0], golden[field]), golden[field], LOGITS)
