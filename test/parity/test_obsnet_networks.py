"""ObsNet's networks, attack, losses and scores against the numbers of the official code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden import vectors
from obsnet_golden import (
    DEEP_TIES,
    DEEPLAB,
    SEGNET,
    TRUNKS,
    Golden,
    assert_mostly_equal,
    assert_mostly_near,
    assert_relatively_near,
    assert_sample,
    levels,
    network,
    normalised,
    plain,
    seeds,
    segnet_pair,
)
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from anomaly_seg_ros.imaging import Fitting
from training.baselines.deep_ensemble import DeepEnsemble
from training.baselines.odin import Odin
from training.methods.obsnet.attacks import local_attack
from training.methods.obsnet.losses import observer_loss
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.published import (
    BDD_ANOMALY,
    CAMVID,
    CITYSCAPES_TRAIN,
    STREET_HAZARDS,
    Trained,
)
from training.segmenter import Segmenter


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def before_last_relu(segnet: nn.Module, found: list[Tensor]) -> Any:
    """Collect what batch norm gives to the last ReLU, which works in place."""
    norm = segnet.get_submodule("up1.conv2.cbr_unit.1")
    return norm.register_forward_hook(lambda _, __, output: found.append(output.clone()))


def test_segnet_and_its_observer_agree_feature_by_feature() -> None:
    golden = vectors("obsnet", "segnet_obsnet")
    segmentation, observer = segnet_pair()
    image = normalised(golden["image"], CAMVID)
    raw: list[Tensor] = []
    hooks = [before_last_relu(net, raw) for net in (segmentation, observer)]

    logits, *taps = segmentation(image)
    observed = observer(image, *taps)
    for hook in hooks:
        hook.remove()

    assert_relatively_near(image, golden["x"], 1e-6)
    for index, feature in enumerate((*taps, logits)):
        assert_sample(feature, golden, f"feat{index}")
    assert_mostly_near(logits, golden["seg_logits"])
    assert_mostly_near(observed, golden["obs_logits"])
    assert_mostly_near(raw[0][..., ::2, ::2], golden["seg_prerelu_s2"])
    assert_mostly_near(raw[1], golden["obs_prerelu"])


def test_the_observer_without_image_or_without_features_agrees() -> None:
    golden = vectors("obsnet", "segnet_obsnet")
    segmentation, observer = segnet_pair()
    image = normalised(golden["image"], CAMVID)
    _, *taps = segmentation(image)

    blind = observer(torch.zeros_like(image), *taps)
    alone = observer(image, *(torch.zeros_like(tap) for tap in taps))

    assert_mostly_near(blind, golden["obs_logits_no_img"], share=DEEP_TIES)
    assert_mostly_near(alone, golden["obs_logits_no_residual"], share=DEEP_TIES)


def test_the_small_observer_agrees() -> None:
    golden = vectors("obsnet", "obsnet_segnet_small")
    logits, *taps = segnet_pair()[0](normalised(golden["image"], CAMVID))

    observed = network("obsnet_segnet_small")(taps[6])

    assert_sample(taps[6], golden, "feat6")
    assert_mostly_near(logits, golden["seg_logits"], share=DEEP_TIES)
    assert_mostly_near(observed, golden["obs_small_logits_no_dropout"], share=DEEP_TIES)


def test_scores_that_need_a_network_agree() -> None:
    golden = vectors("obsnet", "scores_segnet_camvid")
    image = torch.from_numpy(golden["image"][None])
    segmentation, observer = segnet_pair()
    member, other = (
        Segmenter(net, levels(CAMVID.mean), levels(CAMVID.std), size=golden["pred"].shape)
        for net in (segmentation, network(SEGNET, salt=10))
    )

    _, labels, *taps = paper_stages(segmentation, observer, CAMVID)[0](image)
    score = paper_stages(segmentation, observer, CAMVID)[1](image, *taps)
    odin = Odin(temperature=1.2, epsilon=0.025, official_bug=True).score(member, image)
    ensemble = DeepEnsemble([other]).score(member, image)

    assert_mostly_equal(labels[0], golden["pred"])
    assert_mostly_near(score[0], golden["obsnet_sigmoid"])
    assert_mostly_equal(ensemble.labels[0], golden["ensemble_pred"])
    nats = ensemble.score[0] * np.log(len(CAMVID.classes))
    # The segmenter normalises with another rounding, which moves near-ties of pooling.
    assert np.abs(nats.numpy() - golden["ensemble_entropy"]).mean() < 1e-4
    # A pixel whose gradient is nearly zero steps to either side.
    assert np.abs(odin.score[0].numpy() - golden["odin_official"]).mean() < 1e-5


def test_the_local_attack_agrees_in_all_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = vectors("obsnet", "laa_segnet_camvid")
    segmentation = segnet_pair()[0]
    image = normalised(golden["images"], CAMVID)
    mask = torch.from_numpy(golden["mask"]).float()[:, None]
    noise = np.random.default_rng(seeds()["seed"] + 7).standard_normal(image.shape)
    truth = torch.from_numpy(golden["target"].astype(np.int64))
    wrong = torch.from_numpy(golden["fake_target"].astype(np.int64))[:, None, None]
    losses: list[Tensor] = []
    modes = sorted(key.removesuffix("_sign") for key in golden if key.endswith("_sign"))
    assert modes

    for mode in modes:
        [(kind, epsilon, noisy)] = re.findall(r"^(min|max)_eps(.+)_noise([01])$", mode)
        drawn = torch.from_numpy(noise.astype(np.float32)) * int(noisy)
        target = wrong.expand_as(truth) if kind == "max" else truth

        def loss(moved: Tensor, target: Tensor = target) -> Tensor:
            losses.append(functional.cross_entropy(segmentation(moved)[0], target))
            return losses[-1]

        with torch.enable_grad(), monkeypatch.context() as patched:
            patched.setattr(torch, "randn_like", lambda _, drawn=drawn: drawn)
            attacked = local_attack(
                image, mask, loss, epsilon=float(epsilon), towards=kind == "max", limit=3.0
            )

        # Where the gradient is nearly zero its sign is a matter of rounding.
        clear = (np.abs(golden[f"{mode}_relgrad"]) >= 1e-4) | (mask.numpy() == 0)
        assert float(losses[-1]) == pytest.approx(float(golden[f"{mode}_loss"]), abs=1e-5)
        sampled = attacked.numpy().ravel()[::7]
        expected = golden[f"{mode}_adv_sample"]
        assert_mostly_near(sampled[clear.ravel()[::7]], expected[clear.ravel()[::7]], 1e-5)
        step = (attacked - (image + 0.03 * drawn * mask)).numpy()
        free = clear & (np.abs(attacked.numpy()) < 3)
        moved = np.where(np.abs(step) < float(epsilon) / 2, 0, np.sign(step))
        assert_mostly_equal(moved[free], golden[f"{mode}_sign"][free])
        assert_mostly_equal(
            segmentation(attacked)[0].argmax(1), golden[f"{mode}_pred_after"], share=DEEP_TIES
        )


def test_the_weighted_cross_entropy_agrees() -> None:
    golden = vectors("obsnet", "losses")
    logits, wrong = torch.from_numpy(golden["logits"]), torch.from_numpy(golden["target"]) > 0.5

    for weight in (2, 3):
        found = observer_loss(logits, wrong, torch.ones_like(wrong), weight=weight, gamma=0.0)
        assert float(found) == pytest.approx(float(golden[f"bce_pos{weight}"]), abs=1e-5)


def test_the_pipeline_agrees_at_the_size_of_the_paper() -> None:
    golden = vectors("obsnet", "pipeline_segnet_camvid")
    height, width = CAMVID.size
    resized = np.asarray(
        Image.fromarray(golden["image"]).resize((width, height), Image.Resampling.BILINEAR)
    )
    segmentation, observer = paper_stages(*segnet_pair(), CAMVID)
    image = torch.from_numpy(resized.copy())[None]

    logits, labels, *features = segmentation(image)
    score = observer(image, *features)[0, ::2, ::2]

    np.testing.assert_array_equal(resized[::2, ::2], golden["resized_s2"])
    assert_mostly_equal(labels[0, ::2, ::2], golden["pred_s2"], share=DEEP_TIES)
    assert_mostly_near(score, golden["score_sigmoid_s2"], share=DEEP_TIES)
    doubt = 1 - logits[0, :, ::2, ::2].softmax(dim=0).amax(dim=0)
    assert_mostly_near(doubt, golden["mcp_s2"], 1e-3, share=DEEP_TIES)
    assert (np.abs(score.numpy() - golden["vis_gate_s2"]) > 0.1).mean() > 0.5  # another thing


def test_the_detector_fits_images_as_the_paper_resizes_them() -> None:
    golden = vectors("obsnet", "pipeline_segnet_camvid")
    fitted = Fitting(golden["image"].shape[:2], CAMVID.size).fit(golden["image"])

    difference = np.abs(fitted[::2, ::2].astype(int) - golden["resized_s2"])
    assert difference.max() <= 1  # grey level


def check_deeplab(golden: Golden, data: str, trained: Trained, variance: float) -> None:
    segmentation = network(f"{DEEPLAB}_{data}", variance=variance)
    observer = network(f"{DEEPLAB}_{data}_obsnet", variance=variance)
    image = normalised(golden["image"], trained)

    logits, low_level, out = segmentation(image)
    observed = observer(image, low_level, out, logits)

    assert_sample(low_level, golden, "low_level")
    assert_sample(out, golden, "out")
    assert_relatively_near(logits[..., ::2, ::2], golden["seg_logits_s2"])
    assert_mostly_equal(logits.argmax(1), golden["pred"])
    assert_relatively_near(observed, golden["obs_logits"])
    if "mcp" in golden:
        assert_mostly_near(1 - logits.softmax(1).amax(1), golden["mcp"])
        assert_mostly_near(observed.sigmoid(), golden["obs_sigmoid"])


@pytest.mark.slow
def test_deeplab_agrees_on_19_classes() -> None:
    check_deeplab(plain("deeplabv3plus_bdd19"), "bdd19", BDD_ANOMALY, 1.0)
    check_deeplab(vectors("obsnet", "deeplabv3plus_bdd19_var4"), "bdd19", BDD_ANOMALY, 4.0)


@pytest.mark.slow
def test_deeplab_agrees_on_14_classes() -> None:
    golden = vectors("obsnet", "deeplabv3plus_streethazards14_var4")
    check_deeplab(golden, "streethazards14", STREET_HAZARDS, 4.0)


@pytest.mark.slow
@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_deepwv3plus_and_its_observer_agree(variance: float) -> None:
    name = "deepwv3plus_cityscapes19"
    golden = plain(name) if variance == 1.0 else vectors("obsnet", f"{name}_var4")
    segmentation = network(name, variance=variance)
    observer = network("deepwv3plus_obsnet", variance=variance)
    image = normalised(golden["image"], CITYSCAPES_TRAIN)

    logits, *taps = segmentation(image)
    observed = observer(image, *taps)

    for index, tap in enumerate(taps):
        assert_sample(tap, golden, f"feat{index}")
    assert_relatively_near(logits[..., ::2, ::2], golden["seg_logits_s2"])
    assert_mostly_equal(logits.argmax(1), golden["pred"])
    assert_relatively_near(observed, golden["obs_logits"])
    if variance != 1.0:
        assert_mostly_near(1 - logits.softmax(1).amax(1), golden["mcp"])
        assert_mostly_near(observed.sigmoid(), golden["obs_sigmoid"])


@pytest.mark.slow
@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_other_trunks_agree(trunk: str) -> None:
    golden = vectors("obsnet", f"deepv3plus_{trunk}_var4")
    logits = network(f"deepv3plus_{trunk}_m1_19", variance=4.0)(
        normalised(golden["image"], CITYSCAPES_TRAIN)
    )

    assert_relatively_near(logits[..., ::2, ::2], golden["seg_logits_s2"])
    assert_mostly_equal(logits.argmax(1), golden["pred"])


@pytest.mark.slow
def test_an_ill_conditioned_trunk_agrees_loosely() -> None:
    golden = plain("deepv3plus_seresnext50")
    logits = network("deepv3plus_seresnext50_m1_19")(normalised(golden["image"], CITYSCAPES_TRAIN))

    assert_relatively_near(logits[..., ::2, ::2], golden["seg_logits_s2"], 1e-3)
    assert_mostly_equal(logits.argmax(1), golden["pred"])
