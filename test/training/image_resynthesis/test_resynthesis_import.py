"""Checkpoints of Image Resynthesis' published kinds become bundles that answer as torch does."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.scenes import RoadSequence
from training import import_weights
from training.methods.image_resynthesis.import_command import VARIANTS
from training.methods.image_resynthesis.paper_pipeline import SynthesisScaling, paper_stages
from training.methods.image_resynthesis.published import DISCREPANCIES, GENERATOR, SEGMENTATIONS
from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator
from training.networks.pspnet import PSPNet
from training.weights import WeightsError, names

SIZE = (45, 70)  # nothing divides both


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    import_weights.add_parser(parser.add_subparsers())
    return parser.parse_args(["import-weights", "image_resynthesis", *arguments])


def given(**files: Path | str) -> list[str]:
    return [
        text
        for name, value in files.items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]


def varied(network: nn.Module) -> nn.Module:
    """Untrained, with answers that depend on the image."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.detach().uniform_(0.1, 0.5)
    return network.eval()


def saved(network: nn.Module, path: Path, *, wrapped: bool = True) -> Path:
    """As the authors' experiments save it; the generator comes without a wrapper."""
    state = network.state_dict()
    content = {"weights": state, "state": {"epoch_idx": 3, "run_name": "training"}}
    torch.save(content if wrapped else state, path)
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)  # 260 million weights
def test_the_full_pipeline_detects_what_the_torch_stages_score(tmp_path, capsys):
    torch.manual_seed(0)
    segmentation, discrepancy = varied(PSPNet()), DiscrepancyNetwork().eval()
    generator = GlobalGenerator().eval()
    arguments = parse(
        *given(
            network="pspnet",
            segmentation=saved(segmentation, tmp_path / "psp.pth"),
            resynthesis=saved(generator, tmp_path / "latest_net_G.pth", wrapped=False),
            dissimilarity=saved(discrepancy, tmp_path / "chk_best.pth"),
            synthesis_scaling="raw",
            size="45x70",
            name="mine",
            out=tmp_path / "bundle",
        )
    )

    assert arguments.handler(arguments) == 0

    image = RoadSequence(5, size=SIZE).frame(3).image
    bundle = Bundle.open(tmp_path / "bundle")
    with Detector(bundle, backend="onnxruntime") as detector:
        [found] = detector.detect(image, wanted=("labels", "score", "synthesis"))
    stages = paper_stages(segmentation, generator, discrepancy, scaling=SynthesisScaling.RAW)
    with torch.no_grad():
        frame = torch.from_numpy(image)[None]
        _, labels = stages[0](frame)
        synthesis = stages[1](labels)
        score = stages[2](frame, synthesis, labels)
    assert labels.unique().numel() > 1 and score.std() > 0
    assert (found.labels == labels[0].numpy()).mean() > 0.999
    assert np.abs(found.score - score[0].numpy()).mean() < 1e-3
    drawn = 255 * synthesis[0].permute(1, 2, 0).numpy()
    assert np.abs(found.extras["synthesis"] - drawn).mean() < 1
    assert bundle.name == "mine" and bundle.method == "image_resynthesis"
    assert [stage.name for stage in bundle.stages] == [
        "segmentation",
        "resynthesis",
        "dissimilarity",
    ]
    assert bundle.class_names()[13] == "car"
    assert set(bundle.provenance["checkpoints"]) == {stage.name for stage in bundle.stages}
    assert [entry.split(",")[0] for entry in bundle.provenance["data"]] == ["BDD100K", "Cityscapes"]
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "not calibrated" in card and "`raw`" in card
    assert "label_agreement" in capsys.readouterr().out


@pytest.mark.slow
def test_the_cheap_variant_needs_no_generator(tmp_path):
    torch.manual_seed(0)
    segmentation = saved(varied(BayesianSegNet()), tmp_path / "segnet.pth")
    discrepancy = DiscrepancyNetwork(synthesis=False, road_border=True)
    arguments = parse(
        *given(
            network="bayes_segnet",
            variant="labels_only",
            segmentation=segmentation,
            dissimilarity=saved(discrepancy, tmp_path / "chk_best.pth"),
            size="45x70",
            out=tmp_path / "bundle",
        )
    )

    assert arguments.handler(arguments) == 0

    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.name == "image_resynthesis_labels_only_bayes_segnet"
    assert [stage.name for stage in bundle.stages] == ["segmentation", "dissimilarity"]
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "without dropout" in card and "scaling" not in card


def refused(tmp_path: Path, **more: Path | str) -> pytest.ExceptionInfo[WeightsError]:
    """What an import says that lacks or has too much; no file is read before."""
    absent = tmp_path / "absent.pth"
    files = given(network="pspnet", segmentation=absent, dissimilarity=absent, out=tmp_path / "out")
    arguments = parse(*files, *given(**more))
    with pytest.raises(WeightsError) as refusal:
        arguments.handler(arguments)
    assert not (tmp_path / "out").exists()
    return refusal


@pytest.mark.parametrize("variant", ["full", "generated_only"])
def test_a_variant_with_synthesis_needs_the_generator(variant, tmp_path):
    assert refused(tmp_path, variant=variant).match(f"variant {variant} .*--resynthesis")


def test_a_generator_that_nothing_reads_is_refused(tmp_path):
    generator = tmp_path / "latest_net_G.pth"

    refusal = refused(tmp_path, variant="labels_only", resynthesis=generator)

    assert refusal.match("labels_only has no use for .*latest_net_G.pth: leave out --resynthesis")


def test_a_scaling_of_no_synthesis_is_refused(tmp_path):
    refusal = refused(tmp_path, variant="labels_only", synthesis_scaling="raw")

    assert refusal.match("no synthesis to scale as raw")


def test_a_missing_file_is_named_with_its_role(tmp_path):
    refusal = refused(tmp_path, resynthesis=tmp_path / "generator.pth")

    assert refusal.match(r"segmentation .*absent\.pth: .* is no file")


def test_a_file_of_another_network_is_named_with_its_role(tmp_path):
    other = saved(nn.Conv2d(3, 3, 3), tmp_path / "other.pth")

    refusal = refused(tmp_path, resynthesis=other, segmentation=other)

    assert refusal.match(r"segmentation .*other\.pth: .*\n.*missing: layer0\.0\.weight")


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": "segnet"},
        {"variant": "all"},
        {"synthesis_scaling": "none"},
        {"size": "16x512"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_unknown_choices_are_refused(wrong, capsys):
    files = given(network="pspnet", segmentation="a", dissimilarity="b", out="c")

    with pytest.raises(SystemExit):
        parse(*files, *given(**wrong))

    assert next(iter(wrong)).replace("_", "-") in capsys.readouterr().err


def test_every_variant_has_its_networks_among_the_published():
    assert set(VARIANTS) == set(DISCREPANCIES)
    assert {*SEGMENTATIONS.values(), GENERATOR, *DISCREPANCIES.values()} <= set(names())
