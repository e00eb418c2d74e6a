"""ObsNet's training: its attack and losses against the numbers of the official code."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from golden import vectors
from obsnet_golden import (
    assert_mostly_equal,
    assert_mostly_near,
    normalised,
    seeds,
    segnet_pair,
)

from training.methods.obsnet.attacks import ATTACKS, NOISE
from training.methods.obsnet.losses import error_loss
from training.methods.obsnet.paper_networks import frozen, with_indices
from training.methods.obsnet.paper_training import LIMIT, attacked
from training.methods.obsnet.published import CAMVID


@pytest.mark.parametrize("fast", [False, True], ids=["as published", "as it trains"])
def test_the_attack_of_the_training_step_agrees_in_all_modes(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = vectors("obsnet", "laa_segnet_camvid")
    segmentation = segnet_pair()[0]
    if fast:
        segmentation = with_indices(frozen(segmentation))
    image = normalised(golden["images"], CAMVID)
    region = torch.from_numpy(golden["mask"]).float()[:, None]
    noise = np.random.default_rng(seeds()["seed"] + 7).standard_normal(image.shape)
    label = torch.from_numpy(golden["target"].astype(np.int64))
    wrong_class = torch.from_numpy(golden["fake_target"].astype(np.int64))
    modes = sorted(key.removesuffix("_sign") for key in golden if key.endswith("_sign"))
    assert modes

    for mode in modes:
        [(kind, epsilon, noisy)] = re.findall(r"^(min|max)_eps(.+)_noise([01])$", mode)
        drawn = torch.from_numpy(noise.astype(np.float32)) * int(noisy)
        monkeypatch.setattr(torch, "randn_like", lambda _, drawn=drawn: drawn)
        moved = attacked(
            ATTACKS[f"{kind}_random_patch"],
            lambda pixels: segmentation(pixels)[0],
            image,
            label,
            region,
            wrong_class,
            epsilon=float(epsilon),
        )

        # Where the gradient is nearly zero its sign is a matter of rounding.
        edge = 1e-3 if fast else 1e-4
        clear = (np.abs(golden[f"{mode}_relgrad"]) >= edge) | (golden["mask"][:, None] == 0)
        every = slice(None, None, 7)
        seen = clear.ravel()[every]
        expected = golden[f"{mode}_adv_sample"][seen]
        assert_mostly_near(moved.numpy().ravel()[every][seen], expected, 1e-5)
        step = (moved - (image + NOISE * drawn * region)).numpy()
        free = clear & (np.abs(moved.numpy()) < LIMIT)
        signs = np.where(np.abs(step) < float(epsilon) / 2, 0, np.sign(step))
        assert_mostly_equal(signs[free], golden[f"{mode}_sign"][free])
        with torch.no_grad():
            predicted = segmentation(moved)[0].argmax(1).numpy()
        # Folded batch norms and another memory order round otherwise: a few signs turn, and each
        # may move a near-tie of pooling, whose value then appears at another pixel.
        agreement = (predicted == golden[f"{mode}_pred_after"]).mean()
        assert agreement >= 0.95


@pytest.mark.parametrize("weight", [2, 3])
@pytest.mark.parametrize(("kind", "gamma"), [("bce", 0.0), ("focal_g2", 2.0)])
def test_the_losses_of_the_paper_agree(weight: int, kind: str, gamma: float) -> None:
    golden = vectors("obsnet", "losses")
    logits, wrong = torch.from_numpy(golden["logits"]), torch.from_numpy(golden["target"]) > 0.5

    found = error_loss(logits, wrong, torch.ones_like(wrong), weight=weight, gamma=gamma)

    assert float(found) == pytest.approx(float(golden[f"{kind}_pos{weight}"]), rel=2e-6)
