"""`anomaly-seg evaluate` from the command line: results, lists on the screen, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import make_recordings as made
import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.cli.main import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return str(write_tiny_bundle(folder, height=48, width=96))


def evaluate(path: Path, labels: Path | str, out: Path, bundle: str, *more: str) -> int:
    options = ["--labels", str(labels), "--out", str(out), "--bundle", bundle, *more]
    return main(["evaluate", str(path), *options])


def test_results_are_written_and_shown(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_1"])
    assert evaluate(images, labels, tmp_path / "out", bundle) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"frames": 2, "ap": 1.0, "auroc": 1.0, "fpr95": 0.0}.items() <= results.items()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"results.json", "results.md", "frames.csv", "curves.svg", "examples"}
    assert "AP 100.00 %" in capsys.readouterr().out


def test_what_does_not_pair_is_shown_on_the_screen(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 30)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "stray"])
    assert evaluate(images, labels, tmp_path / "out", bundle) == 0
    error = capsys.readouterr().err
    assert "Frames without a label (29):\n  road_1\n" in error
    assert "... and 9 more, see results.json" in error
    assert "Labels without a frame (1):\n  stray.png\n" in error


def test_bag_with_a_label_topic_needs_no_topic_option(tmp_path: Path, bundle: str) -> None:
    bag = made.image_bag(tmp_path / "bag", 3, labels=3)
    for labels in ("/labels", "labels"):
        assert evaluate(bag, labels, tmp_path / labels.strip("/"), bundle) == 0
        results = json.loads((tmp_path / "labels" / "results.json").read_text())
        assert results["frames"] == 3


def test_a_set_without_anomalies_ends_well_and_says_why_there_is_no_ap(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    label = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    labels = made.write_labels(tmp_path / "labels", ["road_0"], label)
    assert evaluate(images, labels, tmp_path / "out", bundle) == 0
    printed = capsys.readouterr().out
    assert "no AP, AUROC, FPR95: no pixel is labelled anomaly (1)" in printed
    assert "1 false regions a frame" in printed


def test_map_resize_and_suffix_reach_the_evaluation(tmp_path: Path, bundle: str) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    label = np.full((2 * made.HEIGHT, 2 * made.WIDTH), 4, np.uint8)
    label[32:64, 64:128] = 12
    labels = made.write_labels(tmp_path / "labels", ["road_0_ids"], label)
    options = ["--map", "12:1,*:0", "--resize-labels", "--label-suffix", "_ids"]
    assert evaluate(images, labels, tmp_path / "out", bundle, *options) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["ap"], results["positives"]) == (1.0, 512)


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        ("nowhere", [], "nowhere"),
        ("strange", [], "label values 9"),
        ("strange", ["--map", "9"], "label map"),
        ("unpaired", [], "no frame has a label"),
    ],
)
def test_mistakes_are_one_error_line_and_exit_code_2(
    tmp_path: Path,
    bundle: str,
    labels: str,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    strange = np.full((made.HEIGHT, made.WIDTH), 9, np.uint8)
    made.write_labels(tmp_path / "strange", ["road_0"], strange)
    made.write_labels(tmp_path / "unpaired", ["other"])
    assert evaluate(images, tmp_path / labels, tmp_path / "out", bundle, *more) == 2
    error = capsys.readouterr().err.rpartition("error: ")[2]
    assert message in error
    assert not (tmp_path / "out").exists()
