"""Parts that were trained here make a bundle as published ones do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.scenes import RoadSequence
from training import import_weights
from training.checkpoints import CheckpointError, open_segmenter
from training.methods.image_resynthesis import trained_checkpoints
from training.methods.image_resynthesis.generators import PaperGenerator
from training.methods.image_resynthesis.paper_pipeline import paper_stages
from training.methods.image_resynthesis.parts import DiscrepancyPart, SegmentationPart, as_plain
from training.networks.light_generator import LightGenerator
from training.networks.pix2pixhd import GlobalGenerator
from training.weights import WeightsError

SIZE = (40, 72)
SEGMENTATION = SegmentationPart("bayes_segnet", "cityscapes256", "cityscapes", SIZE, 1 / 16)
DISCREPANCY = DiscrepancyPart("full", "cityscapes256", SIZE, 1 / 16)


def varied(network: nn.Module) -> nn.Module:
    """Untrained, with answers that depend on the image."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return network.eval()


def saved(path: Path, prefix: str, network: nn.Module, told: dict[str, Any]) -> Path:
    """As `fit` saves it."""
    state = {f"{prefix}.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, **told}, path)
    return path


def imported(out: Path, **words: Path | str) -> int:
    parser = argparse.ArgumentParser()
    import_weights.add_parser(parser.add_subparsers())
    pairs = {"network": "bayes_segnet", "out": out, **words}.items()
    flat = [text for name, value in pairs for text in (f"--{name}", str(value))]
    arguments = parser.parse_args(["import-weights", "image_resynthesis", *flat])
    return int(arguments.handler(arguments))


@pytest.fixture()
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The checkpoints of a narrow chain; a paper-size generator has no width of its own."""
    torch.manual_seed(0)
    generator = PaperGenerator(network=GlobalGenerator(channels=4, blocks=1)).eval()
    monkeypatch.setattr(trained_checkpoints, "load_generator", lambda path: generator)
    return {
        "segmentation": saved(
            tmp_path / "segmentation.ckpt",
            "segmentation",
            varied(SEGMENTATION.build()),
            {SegmentationPart.KEY: as_plain(SEGMENTATION)},
        ),
        "resynthesis": saved(
            tmp_path / "generator.ckpt",
            "generator",
            generator,
            {"generator": {"family": "paper", "classes": 19, "data": "cityscapes"}},
        ),
        "dissimilarity": saved(
            tmp_path / "discrepancy.ckpt",
            "discrepancy",
            DISCREPANCY.build(),
            {DiscrepancyPart.KEY: as_plain(DISCREPANCY)},
        ),
    }


@pytest.mark.slow
def test_a_chain_that_was_trained_here_detects_what_its_stages_score(
    parts: dict[str, Path], tmp_path: Path
) -> None:
    assert imported(tmp_path / "bundle", **parts) == 0

    bundle = Bundle.open(tmp_path / "bundle")
    image = RoadSequence(5, size=SIZE).frame(3).image
    with Detector(bundle, backend="onnxruntime") as detector:
        [found] = detector.detect(image, wanted=("labels", "score"))
    networks = {
        "segmentation": SEGMENTATION.open(Path(), read(parts["segmentation"])),
        "discrepancy": DISCREPANCY.open(Path(), read(parts["dissimilarity"])),
    }
    generator = trained_checkpoints.load_generator(Path())
    stages = paper_stages(networks["segmentation"], generator.network, networks["discrepancy"])
    with torch.no_grad():
        frame = torch.from_numpy(image)[None]
        _, labels = stages[0](frame)
        score = stages[2](frame, stages[1](labels), labels)
    assert found.labels is not None and found.score is not None
    assert (found.labels == labels[0].numpy()).mean() > 0.99
    assert np.abs(found.score - score[0].numpy()).mean() < 1e-3
    assert (bundle.input.height, bundle.input.width) == SIZE
    assert bundle.provenance["data"] == [
        "cityscapes256, by python -m training fit",
        "cityscapes, by python -m training fit",
    ]
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "trained on cityscapes256;" in card and "published" not in card.split("Score:")[0]


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_parts_of_another_kind_are_refused_with_the_option_that_fits(
    parts: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(WeightsError, match=r"is a bayes_segnet, not a pspnet: give --network"):
        imported(out, **parts | {"network": "pspnet"})
    with pytest.raises(WeightsError, match=r"the variant full, not generated_only: give --variant"):
        imported(out, **parts, variant="generated_only")
    told = read(parts["segmentation"])
    told[SegmentationPart.KEY]["space"] = "camvid"
    torch.save(told, parts["segmentation"])
    with pytest.raises(WeightsError, match=r"has the 11 classes of camvid; generator and"):
        imported(out, **parts)
    assert not out.exists()


def test_a_light_generator_belongs_to_the_light_chain(
    parts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    light = {"generator": {"family": "light", "classes": 19}}
    saved(parts["resynthesis"], "generator", LightGenerator(), light)
    with pytest.raises(WeightsError, match=r"is a light generator.*family: paper"):
        imported(tmp_path / "bundle", **parts)


def test_a_generator_alone_labels_nothing(parts: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"holds a generator alone: join the parts"):
        open_segmenter(parts["resynthesis"])
