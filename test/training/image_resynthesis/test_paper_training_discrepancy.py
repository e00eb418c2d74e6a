"""The paper's discrepancy networks learn from a stored set which labels were swapped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from resynthesis_runs import Runs, content, same_state, weights
from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.checkpoints import CheckpointError, open_segmenter, open_stages
from training.data.discrepancy import DiscrepancyRequest, make_discrepancies
from training.data.discrepancy_pictures import palette_of
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import DatasetError
from training.fit import read_model
from training.methods.image_resynthesis.discrepancy_training import (
    DiscrepancyNetworkSettings,
    DiscrepancyTraining,
)
from training.methods.image_resynthesis.parts import DiscrepancyPart
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.vgg_features import VggFeatures
from training.settings import ConfigError
from training.weights import WeightsError
from training.weights.torchvision_trunks import VGG16

WIDTH = 0.125
CONFIG = (
    f"model: resynthesis_discrepancy\nwidth: {WIDTH}\ncrop: [32, 48]\nworkers: 0\nepochs: 12\n"
    "class_weights: [1.5, 6.0]\nplateau: {learning_rate: 2.0e-3}\n"
)
SHORT = CONFIG.replace("epochs: 12", "epochs: 2")
SETTINGS = DiscrepancyNetworkSettings(width=WIDTH, crop=(32, 48), workers=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """With a stored set whose generator paints each class in its colour."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    palette = palette_of(CITYSCAPES)
    asked = DiscrepancyRequest("cityscapes256", "class colours", size=(32, 64), at_least_one=True)
    for split in ("train", "val"):
        folder = runs.data / "discrepancy"
        make_discrepancies(runs.data, folder, replace(asked, split=split), lambda ids: palette[ids])
    return runs


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow file of torchvision's layout."""
    file = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(in_torchvisions_keys(VggFeatures(width=WIDTH)), file)
    return file


def in_torchvisions_keys(network: nn.Module) -> Mapping[str, Tensor]:
    theirs = {ours: name for name, ours in VGG16.parts.items()}
    return {
        key.replace(ours, name): value
        for key, value in network.state_dict().items()
        for ours, name in theirs.items()
        if key.startswith(ours)
    }


@pytest.fixture(scope="module")
def trained(runs: Runs, vgg: Path) -> Path:
    return runs.fit("trained", CONFIG, "--start-from", vgg)


def test_it_learns_which_labels_were_swapped(trained: Path, runs: Runs, vgg: Path) -> None:
    settings = replace(SETTINGS, class_weights=(1.5, 6.0))
    module = DiscrepancyTraining(settings, runs.data, trained / "best.ckpt").eval()
    untrained = DiscrepancyTraining(settings, runs.data, vgg).eval()
    with torch.no_grad():
        for batch in module.val_dataloader():
            loss, logits = module.loss_and_logits(batch)
            assert loss < 0.5 * untrained.loss_and_logits(batch)[0]
            scores = logits.softmax(dim=1)[:, 1]
            assert scores[batch["target"] == 1].mean() > scores[batch["target"] == 0].mean() + 0.4


def test_the_features_stay_as_they_started(trained: Path, vgg: Path) -> None:
    learnt, started = weights(trained), torch.load(vgg, weights_only=True)
    frozen = {k: v for k, v in learnt.items() if k.startswith("discrepancy.vgg_extractor.")}
    assert len(frozen) == len(started) == 20
    assert all(map(torch.equal, frozen.values(), started.values()))
    found = content(trained)
    assert len(found["optimizer_states"][0]["param_groups"][0]["params"]) == len(learnt) - 20


def test_the_frozen_features_are_torchvisions_vgg16(tmp_path: Path, runs: Runs) -> None:
    from torchvision.models import vgg as torchvisions

    features = torchvisions.make_layers(torchvisions.cfgs["D"])
    torch.save({f"features.{k}": v for k, v in features.state_dict().items()}, tmp_path / "d.pth")
    module = DiscrepancyTraining(replace(SETTINGS, width=1.0), runs.data, tmp_path / "d.pth")
    image = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        maps = module.discrepancy.vgg_extractor(image)
        expected = [features[:end](image) for end in (4, 9, 16, 23)]
    torch.testing.assert_close(maps, expected)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(runs: Runs, vgg: Path) -> None:
    whole = runs.fit("whole", SHORT, "--start-from", vgg)
    parts = runs.stopped_and_continued("parts", SHORT, "--start-from", vgg)
    same_state(whole, parts)


@pytest.mark.parametrize("variant", ["full", "generated_only", "labels_only"])
def test_each_variant_learns_from_what_it_reads_alone(variant: str, runs: Runs, vgg: Path) -> None:
    module = DiscrepancyTraining(replace(SETTINGS, variant=variant), runs.data, vgg)
    batch = next(iter(module.val_dataloader()))
    loss, logits = module.loss_and_logits(batch)
    loss.backward()
    assert logits.shape == (3, 2, 32, 64) and torch.isfinite(loss)
    assert all(p.grad is None for p in module.discrepancy.vgg_extractor.parameters())
    unread = {"synthesis", "labels"} - set(module.discrepancy.reads)
    assert (
        unread
        == {"full": set(), "generated_only": {"labels"}, "labels_only": {"synthesis"}}[variant]
    )
    other = {name: 255 - v if name in unread else v for name, v in batch.items()}
    assert torch.equal(module.loss_and_logits(other)[1], logits)


def test_both_images_are_normalised_as_imagenets(runs: Runs, vgg: Path) -> None:
    module = DiscrepancyTraining(SETTINGS, runs.data, vgg)
    seen: list[Tensor] = []
    module.discrepancy.vgg_extractor.register_forward_pre_hook(lambda _, given: seen.append(*given))
    batch = next(iter(module.val_dataloader()))
    for name in ("image", "synthesis"):
        batch[name] = torch.full_like(batch[name], 255)
    module.loss_and_logits(batch)
    assert len(seen) == 2
    for pixels in seen:
        white = pixels[0, :, 0, 0].tolist()
        assert white == pytest.approx([(1 - 0.485) / 0.229, 0.544 / 0.224, 0.594 / 0.225])


def test_pixels_without_a_target_do_not_count(runs: Runs, vgg: Path) -> None:
    module = DiscrepancyTraining(SETTINGS, runs.data, vgg)
    batch = next(iter(module.val_dataloader()))
    batch["target"][:, :, 32:] = 255
    half = {name: values[:, :, :32] for name, values in batch.items()}
    expected = nn.functional.cross_entropy(
        module.loss_and_logits(batch)[1][..., :32],
        half["target"].long(),
        torch.tensor(SETTINGS.class_weights),
    )
    assert module.loss_and_logits(batch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_alone_it_neither_labels_nor_scores(trained: Path) -> None:
    for opener in (open_segmenter, open_stages):
        with pytest.raises(CheckpointError, match="without segmentation and generator: join"):
            opener(trained / "best.ckpt")
    found = content(trained, "best.ckpt")
    part = DiscrepancyPart("full", "cityscapes256", (32, 64), WIDTH)
    assert isinstance(part.open(trained / "best.ckpt", found), DiscrepancyNetwork)


def test_a_run_without_features_to_start_from_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.attempt("alone", SHORT) == 2
    assert "torchvision's VGG-16: give its checkpoint with --start-from" in capsys.readouterr().err


def test_fp16_is_refused(runs: Runs, vgg: Path) -> None:
    module = DiscrepancyTraining(SETTINGS, runs.data, vgg)
    module._trainer = type("Trainer", (), {"precision": "16-mixed"})()
    with pytest.raises(ConfigError, match=r"fp16 does not hold the sums.*bf16-mixed"):
        module.on_fit_start()


def test_sets_and_files_that_do_not_fit_are_refused(runs: Runs, vgg: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no discrepancy\.json.*prepare discrepancy"):
        DiscrepancyTraining(SETTINGS, tmp_path, vgg)
    with pytest.raises(WeightsError, match=r"vgg16\.pth is no vgg16 of torchvision that fits"):
        DiscrepancyTraining(replace(SETTINGS, width=0.25), runs.data, vgg)
    with pytest.raises(DatasetError, match="6 frames of train, fewer than the 9 of one step"):
        DiscrepancyTraining(replace(SETTINGS, batch=9), runs.data, vgg).train_dataloader()
    other = shutil.copytree(runs.data / "discrepancy", tmp_path / "discrepancy")
    told = (other / "discrepancy.json").read_text()
    (other / "discrepancy.json").write_text(told.replace('"sidewalk"', '"pavement"'))
    with pytest.raises(DatasetError, match=r"reads those of Cityscapes: make the set from them"):
        DiscrepancyTraining(SETTINGS, tmp_path, vgg)
    DiscrepancyTraining(replace(SETTINGS, variant="generated_only"), tmp_path, vgg)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"variant": "all"}, "unknown variant 'all'; expected one of full"),
        ({"crop": (30, 48)}, "crops of 30x48; expected multiples of 8"),
        ({"class_weights": (1.0,)}, r"class_weights \(1\.0,\); expected two above 0"),
        ({"class_weights": (1.0, 0.0)}, "expected two above 0"),
    ],
    ids=["variant", "crop", "one weight", "no weight"],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(AnomalySegError, match=said):
        replace(SETTINGS, **wrong)


def test_the_shipped_recipe_is_the_papers() -> None:
    _, settings = read_model("resynthesis_discrepancy_cityscapes")
    assert settings.variant == "full" and settings.width == 1.0
    assert (settings.crop, settings.batch, settings.flip) == ((384, 768), 2, 0.5)
    assert settings.class_weights == (1.45693524, 19.18586532)
    assert settings.plateau.learning_rate == 1e-4
