"""Recordings through a bundle of three stages: synthesis, panels, and the topic in the bag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import make_recordings as made
import numpy as np
import pytest
from replay_results import all_files, everything, messages, pictures, run
from tiny_bundle import write_resynthesis_bundle, write_tiny_bundle

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay import open_source
from anomaly_seg_ros.replay.detection import replay
from anomaly_seg_ros.replay.detection_run import RESULTS, DetectOptions
from anomaly_seg_ros.replay.manifest import MANIFEST_NAME


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detector]:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    with Detector(write_tiny_bundle(folder, height=48, width=96), threads=1) as made_once:
        yield made_once


@pytest.fixture(scope="module")
def resynthesis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detector]:
    folder = tmp_path_factory.mktemp("bundle") / "three_stages"
    write_resynthesis_bundle(folder, height=48, width=96)
    with Detector(folder, threads=1) as made_once:
        yield made_once


def test_the_synthesis_is_written_as_the_detector_gives_it(
    tmp_path: Path, resynthesis: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    run(images, resynthesis, tmp_path / "out", save=frozenset({"synthesis"}))
    written = pictures(tmp_path / "out" / "synthesis")
    assert sorted(written) == ["road_0.png", "road_1.png"]
    for number in range(2):
        found = resynthesis.detect(made.picture(number), ["synthesis"])[0]
        expected = found.extras["synthesis"]
        np.testing.assert_array_equal(written[f"road_{number}.png"], expected)


@pytest.mark.parametrize("stages", ["two", "three"])
def test_panels_show_the_synthesis_where_the_bundle_makes_one(
    tmp_path: Path, detector: Detector, resynthesis: Detector, stages: str
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    chosen = detector if stages == "two" else resynthesis
    run(images, chosen, tmp_path / "out", save=frozenset({"panels"}))
    page = pictures(tmp_path / "out" / "panels")["road_0.png"]
    columns = 3 if stages == "two" else 2
    assert page.shape[1] == columns * made.WIDTH + (columns - 1) * 4
    np.testing.assert_array_equal(page[20 : 20 + made.HEIGHT, : made.WIDTH], made.picture(0))
    if stages == "three":
        found = resynthesis.detect(made.picture(0), ["synthesis"])[0]
        corner = page[-made.HEIGHT :, : made.WIDTH]
        np.testing.assert_array_equal(corner, found.extras["synthesis"])


def test_a_bundle_without_synthesis_is_refused_before_anything_is_touched(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    out = tmp_path / "out"
    run(images, detector, out)
    before = all_files(out)
    save = DetectOptions(save=frozenset({"mask", "synthesis"}))
    for target, overwrite in ((out, True), (tmp_path / "new", False)):
        with (
            open_source(images) as source,
            pytest.raises(
                ReplayError,
                match="cannot save synthesis: bundle tiny makes only logits, labels, features_4",
            ),
        ):
            replay(source, detector, target, save, overwrite=overwrite)
    assert all_files(out) == before and not (tmp_path / "new").exists()


def test_results_with_a_synthesis_are_added_to_an_earlier_run(
    tmp_path: Path, resynthesis: Detector
) -> None:
    path = made.image_bag(tmp_path / "bag", 4)
    run(path, resynthesis, tmp_path / "whole", save=frozenset(RESULTS))
    out = tmp_path / "out"
    run(path, resynthesis, out, save=frozenset({"mask"}), limit=2)
    run(path, resynthesis, out, save=frozenset({"synthesis"}), limit=3)
    run(path, resynthesis, out, save=frozenset(RESULTS))
    assert everything(out) == everything(tmp_path / "whole")
    with open_source(path) as source:
        replay(source, resynthesis, out, DetectOptions(frozenset({"mask"})), overwrite=True)
    assert {entry.name for entry in out.iterdir()} == {"masks", MANIFEST_NAME, "report.json"}


def test_the_result_bag_holds_the_synthesis_under_the_cameras_header(
    tmp_path: Path, resynthesis: Detector
) -> None:
    path = made.image_bag(tmp_path / "bag", 2)
    run(path, resynthesis, tmp_path / "out", save=frozenset({"bag"}))
    stored = messages(tmp_path / "out" / "result_bag")
    assert len(stored) == 2 * 5
    synthesis = [data for topic, _, _, data in stored if topic == "/detector/synthesis"]
    masks = [data for topic, _, _, data in stored if topic == "/detector/anomaly_mask"]
    with open_source(path) as source:
        found = resynthesis.detect([frame.image for frame in source], ["synthesis"])
    for number, data in enumerate(synthesis):
        message = made.ROS2.deserialize_cdr(data, made.IMAGE)
        assert message.encoding == "rgb8" and message.step == 3 * made.WIDTH
        assert message.header == made.ROS2.deserialize_cdr(masks[number], made.IMAGE).header
        pixels = message.data.reshape(made.HEIGHT, made.WIDTH, 3)
        np.testing.assert_array_equal(pixels, found[number].extras["synthesis"])
