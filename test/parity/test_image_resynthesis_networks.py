"""Image Resynthesis' networks against the numbers of the official code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from golden import vectors
from image_resynthesis_golden import (
    LOGITS,
    METHOD,
    PROBABILITIES,
    VARIANTS,
    assert_same_image,
    discrepancy_inputs,
    network,
    normalised,
    pixels,
)
from seeded import assert_near
from torch import Tensor

from training.networks.discrepancy import MULTIPLE
from training.networks.light_generator import one_hot
from training.networks.pix2pixhd import TO_LABEL_ID, label_ids_one_hot, to_uint8
from training.networks.reflection import margins_to, reflected
from training.networks.taps import taps


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_discrepancy_agrees_in_each_variant(variant: str) -> None:
    golden = vectors(METHOD, variant)
    discrepancy = network(variant)

    [logits] = discrepancy(*discrepancy_inputs(discrepancy, golden))

    assert_near(logits, golden["logits"], LOGITS)
    assert_near(logits.softmax(0)[1], golden["anomaly_p"], PROBABILITIES)


def test_the_features_of_image_and_labels_agree() -> None:
    golden = vectors(METHOD, "discrepancy_full")
    discrepancy = network("discrepancy_full_0521")
    image, _, labels = discrepancy_inputs(discrepancy, golden)
    of_labels = one_hot(labels, 19)[:, :19]
    if golden["vgg_level0_chmean"].shape != image.shape[-2:]:  # stored with their padding
        margins = margins_to(MULTIPLE, image)
        image, of_labels = reflected(image, margins), reflected(of_labels, margins)

    features = {
        "vgg": discrepancy.get_submodule("vgg_extractor")(image),
        "sem": taps(discrepancy.get_submodule("sem_extractor").children(), of_labels),
    }

    for name, levels in features.items():
        assert len(levels) == 4
        for index, level in enumerate(levels):
            assert_near(level[0].mean(0), golden[f"{name}_level{index}_chmean"], PROBABILITIES)


def test_the_discrepancy_agrees_on_synthetic_images_of_both_pipelines() -> None:
    golden = vectors(METHOD, "pipeline_full")
    discrepancy = network("discrepancy_full_0521")
    image = normalised(golden["image"])
    labels = torch.from_numpy(golden["pred_labels_trainid"])[None]
    synthetic = {
        "joint": torch.from_numpy(golden["gen_raw"])[None],
        "staged": normalised(golden["gen_image_u8"]),
    }

    for pipeline, synthesis in synthetic.items():
        [logits] = discrepancy(image, synthesis, labels)

        assert_near(logits, golden[f"logits_{pipeline}"], LOGITS)
        assert_near(logits.softmax(0)[1], golden[f"anomaly_p_{pipeline}"], PROBABILITIES)


def test_label_ids_agree() -> None:
    golden = vectors(METHOD, "pix2pixhd_generator")
    labels = golden["labels_trainid"]

    np.testing.assert_array_equal(TO_LABEL_ID[labels], golden["labels_id"])
    spread = label_ids_one_hot(torch.from_numpy(labels)[None])
    np.testing.assert_array_equal(spread[0].argmax(0), golden["labels_id"])
    assert (spread.sum(1) == 1).all()


def test_levels_of_the_synthetic_image_are_cut_off_as_published() -> None:
    golden = vectors(METHOD, "pix2pixhd_generator")

    levels = to_uint8(torch.from_numpy(golden["gen_raw"]))

    np.testing.assert_array_equal(levels.permute(1, 2, 0), golden["gen_image_u8"])


@pytest.mark.slow
def test_the_generator_agrees() -> None:
    golden = vectors(METHOD, "pix2pixhd_generator")
    pipeline = vectors(METHOD, "pipeline_full")
    generator = network("pix2pixhd_generator_0405")
    raw: list[Tensor] = []
    generator.get_submodule("model.38").register_forward_hook(lambda *call: raw.append(call[2]))
    labels = torch.from_numpy(golden["labels_trainid"])[None]
    predicted = torch.from_numpy(pipeline["pred_labels_trainid"])[None]

    [image] = generator(label_ids_one_hot(labels))
    [of_predicted] = generator(label_ids_one_hot(predicted))

    assert_near(raw[0][0], golden["pre_tanh"], PROBABILITIES)
    assert_same_image(image, golden)
    assert_same_image(of_predicted, pipeline)


def test_the_road_autoencoder_agrees() -> None:
    golden = vectors(METHOD, "rbm")
    autoencoder = network("rbm_0525")
    image = pixels(golden["image"])

    score, reconstruction = autoencoder(image)
    patches, _ = autoencoder.patches(image)
    of_patches = autoencoder.patch_score(patches, autoencoder.reconstructed(patches))

    assert of_patches.numel() == golden["n_patches"]
    expected = golden["discrepancy_patches_first_column"]
    assert_near(of_patches.flatten(), expected, PROBABILITIES)
    assert_near(score[0], golden["anomaly_p"], PROBABILITIES)
    assert_near(reconstruction[0].permute(1, 2, 0), golden["reconstructed"], LOGITS)


def test_the_discriminator_holds_the_published_keys() -> None:
    maps = network("pix2pixhd_discriminator_0405")(torch.zeros(1, 38, 64, 96))

    channels = [[found.shape[1] for found in scale] for scale in maps]
    assert channels == 2 * [[64, 128, 256, 512, 1]]
