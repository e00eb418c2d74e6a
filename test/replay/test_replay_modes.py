"""`anomaly-seg replay`: in this process, and through the real node in lock-step and real time."""

from __future__ import annotations

import json
import os
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import make_recordings as made
import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.cli.main import build_parser, main
from anomaly_seg_ros.cli.replay import node_parameters
from anomaly_seg_ros.detector import Detection
from anomaly_seg_ros.errors import EncodingError, NodeError
from anomaly_seg_ros.nodes.detector_parameters import DETECTOR_PARAMETERS
from anomaly_seg_ros.replay.cdr_stamp import read_stamp, with_stamp
from anomaly_seg_ros.replay.comparison import Comparison

ROS_VARIABLES = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "AMENT_PREFIX_PATH")
SHARED_BAGS = (
    "udacity_solid_white_right_mcap",
    "udacity_vehicle_test_mcap",
    "udacity_vehicle_test_sqlite3",
    "camvid_val_15hz_mcap",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock-step and real-time set variables for themselves; the other tests keep theirs."""
    for name in (*ROS_VARIABLES, "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        if name in os.environ:
            monkeypatch.setenv(name, os.environ[name])
        else:
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return str(write_tiny_bundle(folder, height=48, width=96))


@pytest.fixture
def replay(bundle: str, tmp_path: Path) -> Iterator[Callable[..., tuple[int, dict[str, Any]]]]:
    """Runs the verb; its exit status and results.json ({} where none was written)."""

    def run(recording: Path | str, mode: str, *more: str) -> tuple[int, dict[str, Any]]:
        out = tmp_path / mode
        options = ["--mode", mode, "--out", str(out), "--threads", "1", *more]
        if "--bundle" not in more:
            options += ["--bundle", bundle]
        status = main(["replay", str(recording), *options])
        results = out / "results.json"
        return status, json.loads(results.read_text()) if results.exists() else {}

    yield run


def needs_ros() -> None:
    pytest.importorskip("rclpy", reason="the node needs ROS 2: pip install '.[ros]'")


# --- in this process


def test_in_process_without_labels_counts_and_times(
    replay: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    (images / "road_1.png").write_bytes(b"no picture")
    status, results = replay(images, "in-process")
    assert status == 0
    part = results["replay"]
    assert (part["mode"], part["frames"], part["frames_with_anomaly"]) == ("in-process", 2, 2)
    assert part["detect_ms"]["p99"] >= part["detect_ms"]["p50"] > 0
    assert [frame["name"] for frame in results["bad_frames"]] == ["road_1"]
    assert "ap" not in results and results["bundle"] == "tiny"
    assert {path.name for path in (tmp_path / "in-process").iterdir()} == {
        "results.json",
        "results.md",
    }
    assert "2, 2 with an anomaly" in capsys.readouterr().out


def test_in_process_with_labels_has_the_numbers_and_files_of_evaluate(
    replay: Any, bundle: str, tmp_path: Path
) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_2"])
    status, results = replay(images, "in-process", "--labels", str(labels))
    options = ["--labels", str(labels), "--out", str(tmp_path / "scores"), "--bundle", bundle]
    assert status == 0 and main(["evaluate", str(images), *options, "--threads", "1"]) == 0
    evaluated = json.loads((tmp_path / "scores" / "results.json").read_text())
    del evaluated["seconds"]
    assert evaluated.items() <= results.items()
    assert results["replay"]["frames"] == 3 and results["frames"] == 2
    assert results["unpaired_frames"] == ["road_1"]
    for name in ("frames.csv", "curves.svg"):
        again = (tmp_path / "in-process" / name).read_text()
        assert again == (tmp_path / "scores" / name).read_text()


def test_a_report_without_labels_leaves_nothing_of_the_one_before(
    replay: Any, tmp_path: Path
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_1"])
    replay(images, "in-process", "--labels", str(labels))
    assert list((tmp_path / "in-process" / "examples").iterdir())
    replay(images, "in-process")
    left = {path.name for path in (tmp_path / "in-process").iterdir() if path.is_file()}
    assert left == {"results.json", "results.md"}
    assert not list((tmp_path / "in-process" / "examples").iterdir())


@pytest.mark.parametrize(
    ("mode", "more", "complaint"),
    [
        ("in-process", ["--rate", "5"], "--rate is for --mode real-time"),
        ("real-time", ["--patience", "5"], "--patience is for --mode lock-step"),
        ("real-time", ["--rate", "0"], "--rate is 0; expected at least 0.1"),
        ("lock-step", ["--patience", "nan"], "--patience is nan; expected at least 0.1"),
    ],
)
def test_options_of_another_mode_or_without_sense_are_refused(
    replay: Any, capsys: pytest.CaptureFixture[str], mode: str, more: list[str], complaint: str
) -> None:
    assert replay("scenes:1:2", mode, *more) == (2, {})
    assert complaint in capsys.readouterr().err


# --- lock-step


def test_lock_step_gives_every_frame_of_a_drive_as_in_process_and_scores_the_nodes_maps(
    replay: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    needs_ros()
    status, results = replay("scenes:4:5", "lock-step", "--labels", "scenes")
    part = results["replay"]
    assert status == 0
    assert (part["sent"], part["answered"], part["equal"]) == (5, 5, 5)
    assert part["missing"] == part["different"] == [] and part["first_difference"] is None
    _, alone = replay("scenes:4:5", "in-process", "--labels", "scenes")
    same = ("ap", "auroc", "fpr95", "positives", "negatives", "at_operating_point", "pairing")
    assert {name: results[name] for name in same} == {name: alone[name] for name in same}
    assert (tmp_path / "lock-step" / "curves.svg").exists()
    printed = capsys.readouterr().out
    assert "equal to in-process, bit for bit  5 of 5 (100 %)" in printed


@pytest.mark.parametrize("kind", ["raw", "compressed", "ros1"])
def test_lock_step_sends_the_messages_of_a_bag(replay: Any, tmp_path: Path, kind: str) -> None:
    """Padded bgr8 and PNG are decoded by the node itself; ROS 1 messages are translated."""
    needs_ros()
    pictures = [made.picture(number) for number in range(3)]
    if kind == "compressed":
        messages = [made.compressed_message(n, image) for n, image in enumerate(pictures)]
        bag = made.write_bag(tmp_path / "bag", {f"{made.IMAGE_TOPIC}/compressed": messages})
    elif kind == "ros1":
        messages = [
            made.image_message(n, image, "bgr8", made.ROS1) for n, image in enumerate(pictures)
        ]
        bag = made.write_bag1(tmp_path / "one.bag", {made.IMAGE_TOPIC: messages})
    else:
        messages = [made.image_message(n, image, "bgr8") for n, image in enumerate(pictures)]
        bag = made.write_bag(tmp_path / "bag", {made.IMAGE_TOPIC: messages}, storage="mcap")
    status, results = replay(bag, "lock-step")
    assert status == 0 and results["replay"]["equal"] == results["replay"]["sent"] == 3


def test_lock_step_passes_threshold_focus_and_region_on(replay: Any, tmp_path: Path) -> None:
    """A region that leaves nothing of the mask, and a threshold that marks everything."""
    needs_ros()
    region = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    region[:4] = 255
    made.write_image(tmp_path / "region.png", region)
    images = made.write_folder(tmp_path / "images", 2)
    more = ["--threshold", "0.0", "--focus", "everywhere", "--region", str(tmp_path / "region.png")]
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_1"])
    status, results = replay(images, "lock-step", *more, "--labels", str(labels))
    assert status == 0 and results["replay"]["equal"] == 2
    point = results["at_operating_point"]
    assert (point["threshold"], point["recall"]) == (0.0, 0.0)
    # The mask is the region: three rows of known pixels, one of void.
    assert point["false_positive_rate"] == pytest.approx(
        3 * made.WIDTH / (results["negatives"] / 2)
    )


def test_frames_that_do_not_come_back_are_counted_and_then_given_up(
    replay: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No answer comes within a nearly empty patience: the run ends, and says what the node said."""
    needs_ros()
    from anomaly_seg_ros.detector import Detector
    from anomaly_seg_ros.nodes import lock_step
    from anomaly_seg_ros.replay.evaluation import EvaluateOptions, Evaluation
    from anomaly_seg_ros.replay.sources import open_source

    images = made.write_folder(tmp_path / "images", 8)
    folder = write_tiny_bundle(tmp_path / "tiny", height=48, width=96)
    with open_source(images) as source, Detector(folder, threads=1) as detector:
        evaluation = Evaluation(source, None, detector.bundle, EvaluateOptions())
        few = EvaluateOptions(limit=lock_step.GIVE_UP - 1)
        counted = Evaluation(source, None, detector.bundle, few)
        parameters = {"bundle": str(folder), "threads": 1}
        played = lock_step.play_in_lock_step(source, detector, parameters, counted, patience=0.0)
        assert played.run.missing == [f"road_{n}" for n in range(lock_step.GIVE_UP - 1)]
        assert played.run.answered == 0 and not played.run.passed
        with pytest.raises(NodeError, match=r"5 frames in a row, up to road_4(.|\n)*active:"):
            lock_step.play_in_lock_step(source, detector, parameters, evaluation, patience=0.0)


@pytest.mark.parametrize("name", SHARED_BAGS)
def test_lock_step_is_bit_equal_on_real_recordings(replay: Any, name: str) -> None:
    needs_ros()
    shared = os.environ.get("ANOMALY_SEG_SHARED")
    bag = Path(shared or "") / "data" / "bags" / name
    if not shared or not bag.exists():
        pytest.skip("the recorded bags are not here: set ANOMALY_SEG_SHARED")
    more = ["--limit", "3", "--bundle", "street_obsnet_lite"]
    status, results = replay(bag, "lock-step", *more)
    assert status == 0 and results["replay"]["equal"] == results["replay"]["sent"] == 3


# --- real time


def test_real_time_tells_what_became_of_every_frame_and_scores_those_with_a_mask(
    replay: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_ros()
    more = ["--labels", "scenes", "--rate", "20"]
    status, results = replay("scenes:4:8", "real-time", *more)
    assert status == 0
    part = results["replay"]
    assert part["sent"] == 8 and part["rate_asked"] == 20
    assert part["masks"] + len(part["frames_without_mask"]) == 8
    assert part["received"] + part["lost_to_node"] == 8
    assert part["masks"] == results["frames"] >= 1
    lost = sum(part["dropped"].values()) + part["lost_to_node"] + part["lost_from_node"]
    assert lost == len(part["frames_without_mask"])
    assert (
        part["latency_ms"]["longest"] >= part["latency_ms"]["p99"] >= part["latency_ms"]["p50"] > 0
    )
    assert set(part["input_age_ms"]) == set(part["output_age_ms"]) == {"p50", "p95"}
    assert results["runner"]["backend"] == "onnxruntime"
    picture = ElementTree.parse(tmp_path / "real-time" / "latency.svg").getroot()
    assert picture.tag.endswith("svg")
    assert not list((tmp_path / "real-time").glob(".*")), "what was put aside is gone"
    report = (tmp_path / "real-time" / "results.md").read_text()
    assert "latency, send to mask" in report and "](latency.svg)" in report
    assert "AP" in capsys.readouterr().out


def test_real_time_scores_the_same_as_in_process_where_nothing_is_lost(
    replay: Any, tmp_path: Path
) -> None:
    """A slow camera, so that each mask is there before the next frame."""
    needs_ros()
    bag = made.image_bag(tmp_path / "bag", 4, labels=4)
    status, results = replay(bag, "real-time", "--labels", "/labels", "--rate", "2")
    _, alone = replay(bag, "in-process", "--labels", "/labels")
    assert status == 0 and results["replay"]["masks"] == 4
    same = ("ap", "auroc", "fpr95", "frames", "at_operating_point", "unpaired_labels")
    assert {name: results[name] for name in same} == {name: alone[name] for name in same}


def test_a_folder_that_cannot_be_written_is_told_before_the_recording_is_played(
    replay: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_ros()
    (tmp_path / "real-time").write_text("a file")
    assert replay("scenes:4:2", "real-time", "--labels", "scenes") == (2, {})
    assert "cannot write below" in capsys.readouterr().err


def test_every_option_of_the_detector_has_its_parameter_of_the_node() -> None:
    args = build_parser().parse_args(["replay", "scenes:1:1", "--mode", "lock-step", "--out", "."])
    args.region = Path("~/region.png")
    known = {parameter.name for parameter in DETECTOR_PARAMETERS}
    assert set(node_parameters(args)) <= known
    assert node_parameters(args)["region"] == str(Path.home() / "region.png")


# --- parts


def test_the_first_difference_is_told_with_its_place_and_both_values() -> None:
    score = np.zeros((4, 5), np.float32)
    score[0, 0] = np.nan
    maps = {"labels": np.zeros((4, 5), np.uint8), "mask": np.zeros((4, 5), np.uint8)}
    ours = Detection(score=score, **maps, extras={}, seconds={})
    other = score.copy()
    other[2, 3:] = np.nextafter(np.float32(0), np.float32(1))
    comparison = Comparison()
    comparison.add("same", ours, Detection(score=score.copy(), **maps, extras={}, seconds={}))
    comparison.add("one", ours, Detection(score=other, **maps, extras={}, seconds={}))
    smaller = {**maps, "mask": np.zeros((2, 5), np.uint8)}
    comparison.add("two", ours, Detection(score=score, **smaller, extras={}, seconds={}))
    assert comparison.equal == 1 and comparison.different == ["one", "two"]
    assert comparison.different_maps == {"labels": 0, "score": 1, "mask": 1}
    first = comparison.first
    assert first is not None
    assert (first.frame, first.map, first.pixels, first.row, first.column) == (
        "one",
        "score",
        2,
        2,
        3,
    )
    assert str(first).endswith("in process 0.0, node 1.401298464324817e-45")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stamp_is_read_and_replaced_in_either_byte_order(order: str) -> None:
    begin = b"\0\1\0\0" if order == "<" else b"\0\0\0\0"
    cdr = begin + struct.pack(order + "iI", 12, 34) + b"the rest"
    assert read_stamp(cdr) == (12, 34)
    changed = with_stamp(cdr, (1_700_000_000, 999_999_999))
    assert read_stamp(changed) == (1_700_000_000, 999_999_999)
    assert changed[:4] == begin and changed[12:] == b"the rest"


def test_the_stamp_of_a_bags_message_is_where_it_is_looked_for() -> None:
    message = made.image_message(3, made.picture(3), "rgb8")
    cdr = bytes(made.ROS2.serialize_cdr(message, made.IMAGE))
    assert read_stamp(cdr) == divmod(made.stamp_of(3), 10**9)
    again = made.ROS2.deserialize_cdr(with_stamp(cdr, (5, 6)), made.IMAGE)
    assert (again.header.stamp.sec, again.header.stamp.nanosec) == (5, 6)
    assert again.header.frame_id == made.FRAME_ID
    np.testing.assert_array_equal(again.data, message.data)


def test_a_message_without_a_stamp_is_one_clear_error() -> None:
    with pytest.raises(EncodingError, match="3 bytes; expected 12"):
        read_stamp(b"\0\1\0")
