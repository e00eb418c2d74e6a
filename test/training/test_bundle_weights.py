"""A bundle's weights come back into a network that answers as the bundle and can train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from anomaly_seg_ros.errors import BundleError
from training.bundle_weights import load_folded, row_lengths, unfold_norms
from training.data.mixture import MixtureSettings
from training.methods.obsnet import light_start
from training.methods.obsnet.pipeline import Segmentation
from training.methods.obsnet.training import LightObsNet, ObsNetSettings
from training.networks.light_observer import EARLY_CHANNELS, LightObserver
from training.networks.light_pyramid import LightPyramid


def test_the_default_bundle_becomes_a_network_that_trains_on() -> None:
    torch.manual_seed(0)
    bundle = Bundle.open(DEFAULT_BUNDLE)
    size = (bundle.input.height, bundle.input.width)
    images = torch.randint(0, 256, (3, *size, 3), dtype=torch.uint8)
    images[:, : size[0] // 2] //= 2
    network = LightPyramid()
    lengths = row_lengths(network)
    load_folded(network, bundle.stages[0])
    stage = Segmentation(network).eval()
    runner = load_runner(bundle, "onnxruntime")
    expected = torch.from_numpy(runner.run(images[:1].numpy(), ("logits",)).arrays["logits"])
    with torch.no_grad():
        torch.testing.assert_close(stage(images[:1])[0], expected, atol=2e-3, rtol=1e-3)

        def answers() -> Iterator[torch.Tensor]:
            for image in images:
                yield stage(image[None])[0]

        unfold_norms(network, answers(), lengths)
        torch.testing.assert_close(stage(images[:1])[0], expected, atol=2e-3, rtol=1e-3)
        # As a normalised network: batch statistics of the same images change little.
        trained = Segmentation(network).train()(images)[0].argmax(dim=1)
        agreement = (trained == stage.eval()(images)[0].argmax(dim=1)).float().mean()
    assert agreement > 0.8
    runner.close()


def test_a_bundle_of_another_network_is_refused() -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    with pytest.raises(BundleError, match="stage segmentation is no graph of a LightObserver"):
        load_folded(LightObserver(), bundle.stages[0])


@pytest.mark.parametrize("observer_init", ["start", "random"])
def test_a_model_that_starts_from_a_bundle_is_ready_to_train(
    observer_init: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "normal_drives"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    cv2.imwrite(str(folder / "0.png"), noise)
    monkeypatch.setattr(light_start, "NORM_FRAMES", 1)
    mixture = MixtureSettings({"normal_drives": 1.0}, outliers=(0.5, 0.5))
    settings = ObsNetSettings(
        mixture, steps=1, observer_init=observer_init, observer_inputs=("pyramid", "answer")
    )
    model = LightObsNet(settings, tmp_path)
    segmentation, observer = (
        net.head.weight.clone() for net in (model.segmentation, model.observer)
    )
    light_start.load_weights(model, str(DEFAULT_BUNDLE), tmp_path)
    assert all(module.training for module in model.modules())  # Lightning would keep it so
    assert not torch.equal(model.segmentation.head.weight, segmentation)
    assert torch.equal(model.observer.head.weight, observer) == (observer_init == "random")
    assert not model.observer.reduce[0].weight[:, -EARLY_CHANNELS:].any()
