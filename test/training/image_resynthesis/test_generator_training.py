"""The generator trains against its discriminator, resumes, and opens again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import lightning
import numpy as np
import pytest
import torch
from street_tree import COLOURS, FRAMES, SKY, street_tree

from training.data.labelled_frames import DatasetError
from training.fit import read_config
from training.methods.image_resynthesis.gan_losses import (
    EfficientNetDistance,
    Vgg19Distance,
    adversarial_loss,
    feature_matching_loss,
)
from training.methods.image_resynthesis.generator_training import (
    GeneratorSettings,
    GeneratorTraining,
)
from training.methods.image_resynthesis.generators import open_generator
from training.methods.image_resynthesis.label_views import LabelViews, crop_loader
from training.models import MODELS
from training.weights import WeightsError

VIEWS = LabelViews(data="cityscapes256", size=(32, 64), crop=(32, 32), batch=3, workers=0)
SETTINGS = GeneratorSettings(
    family="light",
    views=VIEWS,
    epochs=2,
    learning_rate=2e-3,
    discriminator_channels=8,
    colour_weight=5.0,
    average=0.5,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return street_tree(tmp_path_factory.mktemp("street"))


def fitted(
    settings: GeneratorSettings, data: Path, out: Path, *, until: int | None = None
) -> GeneratorTraining:
    """Train until an epoch, going on from what is there."""
    lightning.seed_everything(0)
    module = GeneratorTraining(settings, data)
    options = MODELS["generator"].trainer(settings, out)
    if until is not None:
        options["max_epochs"] = until
    trainer = lightning.Trainer(
        **options,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )
    last = out / "last.ckpt"
    trainer.fit(module, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    return module


def test_losses_are_zero_for_the_perfect_and_grow_with_distance() -> None:
    torch.manual_seed(0)
    real = torch.rand(1, 3, 64, 64) * 2 - 1
    distance = EfficientNetDistance()
    near, far = (distance((real + s * torch.randn_like(real)).clamp(-1, 1), real) for s in (0.1, 1))
    maps = [[torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)]]
    other = [[torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)]]

    assert float(distance(real, real)) == 0.0
    assert 0 < float(near) < float(far)
    assert float(adversarial_loss(maps, real=True)) == 0.0
    assert float(adversarial_loss(maps, real=False)) == 1.0
    assert float(feature_matching_loss(maps, maps)) == 0.0
    assert float(feature_matching_loss(maps, other)) == 1.0  # the verdict does not count


def test_a_file_that_is_no_vgg_is_named(tmp_path: Path) -> None:
    file = tmp_path / "vgg19.pth"
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(WeightsError, match=r"vgg19\.pth is no vgg19 file of torchvision"):
        Vgg19Distance(file)


def test_an_epoch_shows_each_frame_once_and_depends_on_the_seed(data: Path) -> None:
    def shown(seed: int, epoch: int) -> list[torch.Tensor]:
        return [batch["image"] for batch in crop_loader(data, VIEWS, seed=seed, epoch=epoch)]

    assert sum(batch.shape[0] for batch in shown(0, 0)) == FRAMES["train"]
    assert all(torch.equal(*pair) for pair in zip(shown(0, 1), shown(0, 1), strict=True))
    assert not torch.equal(shown(0, 0)[0], shown(0, 1)[0])
    assert not torch.equal(shown(0, 0)[0], shown(1, 0)[0])


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match="crops of 40x32 from frames of 32x64; expected"):
        LabelViews(data="cityscapes256", size=(32, 64), crop=(40, 32))


@pytest.mark.slow
def test_the_generator_learns_the_colours_of_the_classes(data: Path, tmp_path: Path) -> None:
    fitted(replace(SETTINGS, epochs=14), data, tmp_path)
    label = np.full((1, 32, 64), SKY, np.uint8)
    label[:, 20:] = 0
    image = open_generator(tmp_path / "last.ckpt")(label)[0].astype(float)
    sky, road = COLOURS[SKY][::-1], COLOURS[0][::-1]  # OpenCV wrote them as BGR

    top, bottom = image[:8].mean(axis=(0, 1)), image[24:].mean(axis=(0, 1))
    assert image.shape == (32, 64, 3)
    assert np.abs(top - sky).mean() < np.abs(top - road).mean()
    assert np.abs(bottom - road).mean() < np.abs(bottom - sky).mean()
    pictures = sorted((tmp_path / "synthesis").glob("epoch013_*.jpg"))
    assert cv2.imread(str(pictures[0])).shape == (64, 64, 3)  # camera above synthesis


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(data: Path, tmp_path: Path) -> None:
    whole = fitted(SETTINGS, data, tmp_path / "whole")
    fitted(SETTINGS, data, tmp_path / "parts", until=1)
    parts = fitted(SETTINGS, data, tmp_path / "parts")
    pairs = zip(whole.state_dict().values(), parts.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_shipped_configuration_is_the_light_family() -> None:
    settings = read_config("resynthesis_lite_generator")
    assert settings.family == "light"
    assert (settings.matching_weight, settings.perceptual_weight) == (10.0, 10.0)  # the paper's
