import numpy as np
import torch
from torch import nn

from training.methods.obsnet.attacks import local_attack, random_patches


def test_patches_stay_inside_one_box_per_image():
    masks = random_patches(20, (90, 120), np.random.default_rng(0), box_share=0.4)
    assert masks.shape == (20, 1, 90, 120)
    for mask in masks[:, 0].numpy():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert rows[-1] - rows[0] < 36 and columns[-1] - columns[0] < 48
        assert 0.05 < mask.sum() / (36 * 48) <= 1.0


def attacked(towards: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, nn.Module]:
    torch.manual_seed(0)
    network, image = nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 24, 32) - 0.5
    mask = torch.zeros(2, 1, 24, 32)
    mask[:, :, 6:18, 8:20] = 1
    truth = torch.randint(0, 4, (2, 24, 32))

    def loss(pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(pixels), truth)

    moved = local_attack(image, mask, loss, epsilon=0.1, towards=towards)
    return image, moved, torch.stack((loss(image), loss(moved))), mask


def test_nothing_outside_the_mask_changes():
    image, moved, _, mask = attacked(towards=False)
    outside = (mask == 0).expand_as(image)
    assert torch.equal(image[outside], moved[outside])
    assert not torch.equal(image, moved)


def test_an_attack_away_from_the_truth_raises_the_loss_and_towards_lowers_it():
    before, after = attacked(towards=False)[2]
    assert after > before
    before, after = attacked(towards=True)[2]
    assert after < before


def test_attacked_images_stay_in_range():
    assert attacked(towards=False)[1].abs().max() <= 1.0
