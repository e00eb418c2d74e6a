"""The stages of the published networks: any size, any variant, in torch and exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from anomaly_seg_ros.scenes import RoadSequence
from training.export import Gate, export_stages
from training.methods.image_resynthesis.paper_pipeline import (
    Dissimilarity,
    SynthesisScaling,
    paper_stages,
)
from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator
from training.stage import Stage

SIZE = (45, 70)  # nothing divides both
# A label that flips at a near-tie moves the statistics of the whole synthesis.
NARROW = Gate(label_agreement=0.99, score_mean_error=1e-3, score_max_error=1e-2)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def image(size: tuple[int, int] = SIZE) -> np.ndarray:
    return RoadSequence(1, size=size).frame(10).image[None]


def narrow_stages(
    *, synthesis: bool = True, labels: bool = True, scaling: str = "imagenet"
) -> list[Stage]:
    """Untrained; the labels of a real network would not be so varied."""
    segmentation = BayesianSegNet(19, width=1 / 16)
    for layer in segmentation.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    generator = GlobalGenerator(channels=4, blocks=1)
    discrepancy = DiscrepancyNetwork(
        synthesis=synthesis, labels=labels, width=1 / 16, road_border=not synthesis
    )
    stages = paper_stages(
        segmentation,
        generator if synthesis else None,
        discrepancy,
        scaling=SynthesisScaling(scaling),
    )
    return [stage.eval() for stage in stages]


def run(stages: list[Stage], frame: np.ndarray) -> dict[str, torch.Tensor]:
    tensors = {"image": torch.from_numpy(frame)}
    for stage in stages:
        made = stage(*(tensors[name] for name in stage.inputs))
        values = made if isinstance(made, tuple) else (made,)
        tensors.update(zip(stage.outputs, values, strict=True))
    return tensors


@pytest.mark.parametrize("size", [SIZE, (64, 96), (33, 32)])
def test_every_map_has_the_size_of_the_image(size: tuple[int, int]) -> None:
    made = run(narrow_stages(), image(size))

    assert made["logits"].shape == (1, 19, *size)
    assert made["labels"].shape == made["score"].shape == (1, *size)
    assert made["synthesis"].shape == (1, 3, *size)
    assert made["labels"].dtype == torch.uint8 and made["labels"].unique().numel() > 1
    for name in ("synthesis", "score"):
        assert 0 <= made[name].min() < made[name].max() <= 1


@pytest.mark.parametrize(
    ("without", "names", "inputs"),
    [
        pytest.param(
            {},
            ["segmentation", "resynthesis", "dissimilarity"],
            ("image", "synthesis", "labels"),
            id="full",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"synthesis": False},
            ["segmentation", "dissimilarity"],
            ("image", "labels"),
            id="labels only",
        ),
        pytest.param(
            {"labels": False},
            ["segmentation", "resynthesis", "dissimilarity"],
            ("image", "synthesis"),
            id="generated only",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_exported_variants_answer_as_torch_does(
    without: dict[str, bool], names: list[str], inputs: tuple[str, ...], tmp_path: Path
) -> None:
    stages = narrow_stages(**without)

    exported = export_stages(stages, [image()], tmp_path, gate=NARROW, rounded=False)

    assert [stage.name for stage in stages] == names
    assert stages[-1].inputs == inputs
    for done in exported:
        kinds = {node.op_type for node in onnx.load(done.file).graph.node}
        assert not kinds & {"ScatterND", "ScatterElements", "OneHot", "GatherND"}


def test_a_network_that_reads_the_synthesis_needs_the_generator() -> None:
    with pytest.raises(ValueError, match="give the generator"):
        paper_stages(BayesianSegNet(width=1 / 16), None, DiscrepancyNetwork(width=1 / 16))


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (SynthesisScaling.IMAGENET, (0.7 - 0.485) / 0.229),
        (SynthesisScaling.RAW, 2 * 0.7 - 1),
        (SynthesisScaling.UINT8, (int(0.7 * 256) / 255 - 0.485) / 0.229),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_the_synthesis_is_scaled_as_named(scaling: SynthesisScaling, expected: float) -> None:
    stage = Dissimilarity(DiscrepancyNetwork(width=1 / 16), scaling)

    scaled = stage.scaled(torch.full((1, 3, 2, 2), 0.7))

    assert float(scaled[0, 0, 0, 0]) == pytest.approx(expected, abs=1e-6)


def test_whole_grey_levels_end_at_white() -> None:
    stage = Dissimilarity(DiscrepancyNetwork(width=1 / 16), SynthesisScaling.UINT8)
    white = torch.ones(1, 3, 1, 1)

    assert torch.equal(stage.scaled(white), stage.scaled(white - 1e-4))
