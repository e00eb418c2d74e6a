"""Local adversarial attacks: where they act, where they go, and that each teaches the observer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training.data.mixture import MixtureSettings
from training.fit import ConfigError, read_config
from training.methods.obsnet.attack_regions import REGIONS, USUAL_SIZES, draw_regions
from training.methods.obsnet.attacks import ATTACKS, attack, local_attack
from training.methods.obsnet.fractals import attractor, fractal_bank
from training.methods.obsnet.training import LightObsNet, ObsNetSettings
from training.networks.light_observer import EARLY_CHANNELS

LABELS = np.random.default_rng(0).integers(0, 5, (20, 90, 120), np.uint8)


def drawn(name: str, labels: np.ndarray = LABELS, seed: int = 0) -> np.ndarray:
    return draw_regions(REGIONS[name], labels, np.random.default_rng(seed)).numpy()


@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_masks_that_the_seed_alone_decides(name: str) -> None:
    masks = drawn(name)
    assert masks.shape[0] == 20 and masks.shape[1] in (1, 3) and masks.shape[2:] == (90, 120)
    assert set(np.unique(masks)) <= {0.0, 1.0} and masks.any()
    np.testing.assert_array_equal(masks, drawn(name))
    assert name == "all_image" or (masks != drawn(name, seed=1)).any()


@pytest.mark.parametrize("name", ["square_patch", "random_patch", "fractal"])
def test_patches_stay_inside_one_box_per_image(name: str) -> None:
    shares = []
    for mask in drawn(name)[:, 0]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert rows[-1] - rows[0] < 36 and columns[-1] - columns[0] < 48
        shares.append(mask.sum() / (36 * 48))
    assert min(shares) > 0.05
    assert (np.mean(shares) == 1) == (name == "square_patch")


def test_random_patches_cover_about_as_much_of_the_box_as_the_released_ones() -> None:
    shares = drawn("random_patch").sum(axis=(1, 2, 3)) / (36 * 48)
    assert 0.45 < shares.mean() < 0.75  # 0.58 to 0.62 was measured there


def test_sparse_values_are_five_percent_of_each_channel() -> None:
    share = drawn("pixels_sparse").mean(axis=(0, 2, 3))
    assert share.shape == (3,)
    np.testing.assert_allclose(share, 0.05, atol=0.002)


def test_a_class_region_is_one_class_and_never_void_or_an_outlier() -> None:
    labels = LABELS.copy()
    labels[:, :45] = 255
    labels[:, 45:60] = 254
    for mask, label in zip(drawn("class", labels)[:, 0] > 0, labels, strict=True):
        [chosen] = np.unique(label[mask])
        assert chosen < 5 and (mask == (label == chosen)).all()
    assert not drawn("class", np.full((1, 8, 8), 255, np.uint8)).any()


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 200)])
@pytest.mark.parametrize("name", REGIONS)
def test_small_and_odd_images_get_regions_too(name: str, size: tuple[int, int]) -> None:
    assert drawn(name, np.zeros((2, *size), np.uint8)).shape[2:] == size


def test_sizes_follow_the_image() -> None:
    sizes = USUAL_SIZES.at((300, 400))
    assert sizes.box == (120, 160) and sizes.shapes == (54, 78)


def test_fractals_are_the_same_everywhere_and_neither_dust_nor_full() -> None:
    bank = fractal_bank()
    assert bank.dtype == bool and bank.shape[1:] == attractor(np.random.default_rng(1)).shape
    shares = bank.mean(axis=(1, 2))
    assert shares.min() >= 0.15 and shares.max() <= 0.7
    assert len({picture.tobytes() for picture in bank}) == len(bank)


def attacked(towards: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network, image = nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 24, 32) - 0.5
    mask = torch.zeros(2, 1, 24, 32)
    mask[:, :, 6:18, 8:20] = 1
    truth = torch.randint(0, 4, (2, 24, 32))

    def loss(pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(pixels), truth)

    moved = local_attack(image, mask, loss, epsilon=0.1, towards=towards)
    return image, moved, torch.stack((loss(image), loss(moved))), mask


def test_nothing_outside_the_mask_changes() -> None:
    image, moved, _, mask = attacked(towards=False)
    outside = (mask == 0).expand_as(image)
    assert torch.equal(image[outside], moved[outside])
    assert not torch.equal(image, moved)


def test_an_attack_away_from_the_truth_raises_the_loss_and_towards_lowers_it() -> None:
    before, after = attacked(towards=False)[2]
    assert after > before
    before, after = attacked(towards=True)[2]
    assert after < before


def test_attacked_images_stay_in_range() -> None:
    assert attacked(towards=False)[1].abs().max() <= 1.0


def test_an_attack_spares_what_is_wrong_already() -> None:
    torch.manual_seed(0)
    image, region = torch.rand(1, 3, 8, 8) - 0.5, torch.ones(1, 1, 8, 8)
    wrong = torch.zeros(1, 8, 8, dtype=torch.bool)
    wrong[:, :4] = True

    def answer(moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return moved.square().sum(), wrong

    moved = attack(ATTACKS["min_class"], image, region, answer, epsilon=0.1, limit=1.0)
    assert torch.equal(moved[:, :, :4], image[:, :, :4])
    assert (moved[:, :, 4:] != image[:, :, 4:]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_teaches_the_observer_and_leaves_the_segmentation_alone(name: str) -> None:
    torch.manual_seed(0)
    mixture = MixtureSettings(weights={"camvid": 1.0}, outliers=(0.5, 0.5))
    settings = ObsNetSettings(mixture=mixture, steps=1, attack_every=1, attack=name)
    model = LightObsNet(settings, Path("nowhere"))
    image = torch.rand(2, 3, 64, 96) * 2 - 1
    target = torch.randint(0, 11, (2, 32, 48))
    target[:, :4], target[:, 4:8] = 255, 254
    loss = model._attacked_observer_loss(image, target, torch.ones(2, dtype=torch.long), 0)
    loss.backward()
    assert torch.isfinite(loss) and loss > 0
    assert any(p.grad is not None and p.grad.any() for p in model.observer.parameters())
    assert all(p.grad is None for p in model.segmentation.parameters())


@pytest.mark.parametrize("outliers", [(1.0,), (0.5, 0.5)])
def test_the_observer_can_be_trained_alone(outliers: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    mixture = MixtureSettings(weights={"camvid": 1.0}, outliers=outliers)
    settings = ObsNetSettings(
        mixture=mixture,
        steps=1,
        attack_every=1,
        train_segmentation=False,
        observer_inputs=("pyramid", "answer"),
    )
    model = LightObsNet(settings, Path("nowhere")).train()
    model._trainer = type("Trainer", (), {"world_size": 1, "current_epoch": 0})()
    model.log = model.log_dict = lambda *values, **options: None  # type: ignore[method-assign]
    before = {name: value.clone() for name, value in model.segmentation.state_dict().items()}
    optimizer = model.configure_optimizers()["optimizer"]  # type: ignore[index]
    target = torch.randint(0, 11, (2, 32, 48), dtype=torch.uint8)
    target[:, 4:8] = 254 if len(outliers) > 1 else 255
    image = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    batch = {"image": image, "target": target, "space": torch.ones(2, dtype=torch.long)}
    observer = model.observer.head.weight.clone()
    model.training_step(batch, 0).backward()
    optimizer.step()
    after = model.segmentation.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(model.observer.head.weight, observer)
    entry = model.observer.reduce[0].weight
    assert entry[:, :-EARLY_CHANNELS].all() and not entry[:, -EARLY_CHANNELS:].any()


def test_a_run_that_would_train_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mixture: {weights: {camvid: 1.0}}\nsteps: 1\ntrain_segmentation: false\n")
    with pytest.raises(ConfigError, match="nothing is trained"):
        read_config(str(file))


def test_an_unknown_attack_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mixture: {weights: {camvid: 1.0}}\nsteps: 1\nattack: magic\n")
    with pytest.raises(ConfigError, match=r"unknown attack.*min_random_patch"):
        read_config(str(file))
    file.write_text("mixture: {weights: {camvid: 1.0}}\nsteps: 1\nattack: fractal\n")
    settings = read_config(str(file))
    assert replace(settings, steps=2).attack == "fractal"
