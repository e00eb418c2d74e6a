"""Checkpoints of published kinds become bundles that answer as the torch stages do."""

import argparse
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.scenes import RoadSequence
from training import import_weights
from training.checkpoint_bundle import size_of
from training.methods.obsnet.import_command import import_obsnet
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.published import CAMVID, PAIRS
from training.networks.segnet import SegNet
from training.networks.segnet_observer import SmallSegNetObserver
from training.weights import WeightsError, names

SIZE = (64, 96)


def saved(network: torch.nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    import_weights.add_parser(parser.add_subparsers())
    return parser.parse_args(["import-weights", "obsnet", *arguments])


@pytest.mark.slow
def test_an_imported_bundle_detects_what_the_torch_stages_score(tmp_path, capsys):
    torch.manual_seed(0)
    segmentation, observer = SegNet(12), SmallSegNetObserver()
    for network in (segmentation, observer):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
    torch.nn.init.constant_(observer.fc.weight, 50.0)  # spreads the scores of untrained weights
    arguments = parse(
        *("--network", "segnet_camvid_small", "--name", "mine", "--size", "64x96"),
        *("--segmentation", str(saved(segmentation, tmp_path / "segnet.pth"))),
        *("--observer", str(saved(observer, tmp_path / "best.pth"))),
        *("--out", str(tmp_path / "bundle")),
    )

    assert arguments.handler(arguments) == 0

    image = RoadSequence(5, size=SIZE).frame(3).image
    bundle = Bundle.open(tmp_path / "bundle")
    with Detector(bundle, backend="onnxruntime") as detector:
        [found] = detector.detect(image)
    stages = paper_stages(segmentation.eval(), observer.eval(), CAMVID)
    with torch.no_grad():
        answer = dict(zip(stages[0].outputs, stages[0](torch.from_numpy(image)[None]), strict=True))
        score = stages[1](*(answer[name] for name in stages[1].inputs))
    assert found.score is not None and found.labels is not None
    assert score.std() > 1e-3
    assert (np.abs(found.score - score[0].numpy()) < 1e-4).mean() > 0.99
    assert (found.labels == answer["labels"][0].numpy()).mean() > 0.99
    for stage in bundle.stages:
        nodes = onnx.load(stage.files[0].path).graph.node
        assert not {node.op_type for node in nodes} & {"ScatterND", "ScatterElements", "MaxUnpool"}
        assert all(len(node.output) == 1 for node in nodes)  # no indices of MaxPool
    assert bundle.name == "mine"
    assert bundle.class_names()[11] == "void"
    assert [entry.name for entry in bundle.classes if entry.drivable] == ["road"]
    assert bundle.operating_points["default"].threshold == 0.5
    assert "not calibrated" in bundle.operating_points["default"].rule
    assert set(bundle.provenance["checkpoints"]) == {"segmentation", "observer"}
    assert "not calibrated" in (bundle.folder / "MODEL_CARD.md").read_text()
    assert "label_agreement" in capsys.readouterr().out


def test_a_network_of_another_dataset_is_refused(tmp_path):
    segnet = saved(SegNet(14), tmp_path / "segnet.pth")

    with pytest.raises(WeightsError, match="14 classes, CamVid has 12"):
        import_obsnet("segnet_camvid", segnet, segnet, tmp_path / "bundle", size=SIZE)

    assert not (tmp_path / "bundle").exists()


def test_a_file_that_does_not_fit_is_named_with_its_role(tmp_path):
    observer = saved(SmallSegNetObserver(), tmp_path / "best.pth")

    with pytest.raises(WeightsError, match=r"segmentation .*best\.pth: .*\n.*missing: down1"):
        import_obsnet("segnet_camvid", observer, observer, tmp_path / "bundle", size=SIZE)


def test_the_small_observer_needs_sides_that_divide_by_eight(tmp_path):
    absent = tmp_path / "absent.pth"

    with pytest.raises(WeightsError, match="multiples of 8"):
        import_obsnet("segnet_camvid_small", absent, absent, tmp_path / "bundle", size=(60, 96))


@pytest.mark.parametrize("text", ["360", "360x", "x480", "0x480", "16x480", "-360x480", "a x b"])
def test_other_sizes_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="HEIGHTxWIDTH"):
        size_of(text)


def test_the_size_is_height_and_width():
    assert size_of("360x480") == (360, 480)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_every_pair_is_of_known_networks_and_whole_class_lists(pair):
    classes = [name for name, _ in pair.trained.classes]

    assert {pair.segmentation, pair.observer} <= set(names())
    assert len(set(classes)) == len(classes)
    assert set(pair.trained.drivable) <= set(classes)
