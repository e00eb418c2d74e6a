"""Labels find their frames, nothing is dropped silently, and the numbers are the right ones."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import make_recordings as made
import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.metrics import FrameResult, ScoreHistogram
from anomaly_seg_ros.replay import open_source
from anomaly_seg_ros.replay.evaluation import EvaluateOptions, evaluate
from anomaly_seg_ros.replay.evaluation_plots import Curves
from anomaly_seg_ros.replay.labels import LabelMap, open_labels


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detector]:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", height=48, width=96)
    with Detector(bundle, threads=1) as made_once:
        yield made_once


def run(
    path: Path | str,
    labels: Path | str,
    detector: Detector,
    out: Path,
    *,
    pairing: str = "auto",
    suffix: str = "",
    **options: Any,
) -> dict[str, Any]:
    not_topics = () if Path(labels).is_dir() else (str(labels),)
    with open_source(path, not_topics=not_topics) as source:
        stored = open_labels(str(labels), source, pairing=pairing, suffix=suffix)
        evaluate(source, stored, detector, out, EvaluateOptions(**options))
        stored.close()
    return json.loads((out / "results.json").read_text())


def brute_force(score: np.ndarray, label: np.ndarray) -> tuple[float, float, float]:
    """AP, AUROC and FPR95 by looking at every threshold."""
    positive, negative = score[label == 1], score[label == 0]
    ap, reached, fpr95 = 0.0, 0.0, None
    for threshold in np.unique(score[label != 255])[::-1]:
        tp, fp = (positive >= threshold).sum(), (negative >= threshold).sum()
        recall = tp / positive.size
        ap += (recall - reached) * tp / (tp + fp)
        reached = recall
        if fpr95 is None and recall >= 0.95:
            fpr95 = fp / negative.size
    below = (positive[:, None] > negative[None, :]).mean()
    ties = (positive[:, None] == negative[None, :]).mean()
    assert fpr95 is not None
    return ap, float(below + ties / 2), float(fpr95)


# --- numbers


def test_scores_are_those_of_all_pixels_of_all_frames(tmp_path: Path, detector: Detector) -> None:
    images, labels = made.write_folder(tmp_path / "images", 3), tmp_path / "labels"
    rng = np.random.default_rng(2)
    stored = []
    for number in range(3):
        label = np.roll(made.anomaly_label(), 5 * number, axis=1)
        label[rng.random(label.shape) < 0.1] = 255
        stored.append(label)
        made.write_image(labels / f"road_{number}.png", label)
    results = run(images, labels, detector, tmp_path / "out")

    found = detector.detect([made.picture(number) for number in range(3)])
    score = np.concatenate([entry.score.ravel() for entry in found])
    label = np.concatenate([entry.ravel() for entry in stored])
    ap, auroc, fpr95 = brute_force(score, label)
    exact = run(images, labels, detector, tmp_path / "exact", exact=True)
    assert [exact["ap"], exact["auroc"], exact["fpr95"]] == pytest.approx([ap, auroc, fpr95])
    assert exact["ap_error"] == 0
    assert results["frames"] == 3
    assert results["ap"] == pytest.approx(ap, abs=results["ap_error"] + 1e-12)
    assert results["auroc"] == pytest.approx(auroc, abs=results["auroc_error"] + 1e-12)
    assert results["fpr95"] == pytest.approx(fpr95, abs=results["fpr95_error"] + 1e-12)
    assert results["positives"] == (label == 1).sum()
    assert results["negatives"] == (label == 0).sum()
    mask = np.concatenate([entry.mask.ravel() for entry in found]) > 0
    point = results["at_operating_point"]
    assert point["recall"] == pytest.approx(mask[label == 1].mean())
    assert point["precision"] == pytest.approx((label == 1)[mask & (label != 255)].mean())


def test_frames_csv_has_a_line_per_frame_and_counts_false_regions(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_1"])
    made.write_image(labels / "road_2.png", np.zeros((made.HEIGHT, made.WIDTH), np.uint8))
    results = run(images, labels, detector, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["road_0", "road_1", "road_2"]
    assert [row["anomaly_pixels"] for row in rows] == ["512", "512", "0"]
    assert float(rows[0]["ap"]) == 1.0
    assert rows[2]["ap"] == ""
    # the block of 512 pixels is detected in all frames, and in the last it is no anomaly
    assert [row["false_regions"] for row in rows] == ["0", "0", "1"]
    assert results["at_operating_point"]["false_regions_per_frame"] == pytest.approx(1 / 3)


def test_without_any_anomaly_the_scores_are_null_with_the_reason(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    label = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_1"], label)
    results = run(images, labels, detector, tmp_path / "out")
    assert [results[key] for key in ("ap", "auroc", "fpr95", "ap_error")] == [None] * 4
    assert "anomaly" in results["reason_for_null"]
    assert results["at_operating_point"]["false_regions"] == 2


def test_drawn_scenes_bring_their_own_labels(tmp_path: Path, detector: Detector) -> None:
    results = run("scenes:4:2", "scenes", detector, tmp_path / "out")
    assert results["frames"] == 2
    assert results["pairing"] == "labels of the drawn scene itself"


def test_pixels_the_network_does_not_look_at_count_as_the_lowest_score(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", height=48, width=48, fit="crop")
    images = made.write_folder(tmp_path / "images", 1)
    label = made.anomaly_label()
    label[8:12, :8] = 1  # outside the central square
    labels = made.write_labels(tmp_path / "labels", ["road_0"], label)
    with Detector(bundle, threads=1) as detector:
        results = run(images, labels, detector, tmp_path / "out")
    assert any("does not look" in text for text in results["warnings"])
    assert results["ap"] < 0.999  # those pixels are found only at the lowest threshold
    assert results["fpr95"] == 1.0 or results["auroc"] < 1.0


# --- pairing


def test_images_and_labels_without_a_partner_are_listed(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    labels = made.write_labels(tmp_path / "labels", ["road_0", "road_2", "road_9"])
    results = run(images, labels, detector, tmp_path / "out")
    assert results["frames"] == 2
    assert results["unpaired_frames"] == ["road_1"]
    assert results["unpaired_labels"] == ["road_9.png"]
    report = (tmp_path / "out" / "results.md").read_text()
    assert "road_1" in report and "road_9.png" in report


def test_label_suffix_is_taken_off_before_stems_are_compared(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    labels = made.write_labels(tmp_path / "labels", ["road_0_labels"])
    assert run(images, labels, detector, tmp_path / "out", suffix="_labels")["frames"] == 1


def test_nothing_pairs_is_an_error_that_shows_both_sides(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    labels = made.write_labels(tmp_path / "labels", ["other"])
    with pytest.raises(ReplayError, match=r"road_0, road_1.*other\.png"):
        run(images, labels, detector, tmp_path / "out")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_label_messages_pair_with_images_of_the_same_stamp(
    tmp_path: Path, detector: Detector, storage: str
) -> None:
    images = [made.image_message(i, made.picture(i), "rgb8") for i in range(4)]
    labels = [made.image_message(i, made.anomaly_label(), "mono8") for i in (1, 2, 7)]
    topics = {made.IMAGE_TOPIC: images, "/labels": labels}
    path = made.write_bag(tmp_path / "bag", topics, storage=storage)
    results = run(path, "/labels", detector, tmp_path / "out")
    assert results["frames"] == 2
    assert results["ap"] == 1.0
    assert results["unpaired_frames"] == ["000000", "000003"]
    assert results["unpaired_labels"] == [f"/labels at stamp {made.stamp_of(7)}"]


def test_png_compressed_label_messages_are_read(tmp_path: Path, detector: Detector) -> None:
    images = [made.image_message(i, made.picture(i), "rgb8") for i in range(2)]
    labels = [made.compressed_message(i, made.anomaly_label()) for i in range(2)]
    path = made.write_bag(tmp_path / "bag", {made.IMAGE_TOPIC: images, "/labels": labels})
    assert run(path, "/labels", detector, tmp_path / "out")["ap"] == 1.0


@pytest.mark.parametrize(
    ("names", "frames", "unpaired_frames", "unpaired_labels", "rule"),
    [
        (["000000", "000001", "000002"], 3, [], [], "counted from 0"),
        (["0", "2", "9"], 2, ["000001"], ["9.png"], "n-th"),
        (["0", "2"], 2, ["000001"], [], "counted from 0"),
        (["1", "2", "3"], 3, [], [], "counted from 1"),
        (["a_07", "a_9", "a_11"], 3, [], [], "n-th"),
        (["a", "b"], 2, ["000002"], [], "n-th"),
        (["a", "b", "c", "d"], 3, [], ["d.png"], "n-th"),
        ([str(made.stamp_of(i)) for i in (0, 2)], 2, ["000001"], [], "stamp"),
    ],
)
def test_bag_frames_pair_with_label_files_by_number_order_or_stamp(
    tmp_path: Path,
    detector: Detector,
    names: list[str],
    frames: int,
    unpaired_frames: list[str],
    unpaired_labels: list[str],
    rule: str,
) -> None:
    path = made.image_bag(tmp_path / "bag", 3)
    labels = made.write_labels(tmp_path / "labels", names)
    if names == ["0", "2", "9"]:  # 9 is no frame of three: by order unless it is asked for
        with_order = run(path, labels, detector, tmp_path / "order")
        assert rule in with_order["pairing"] and with_order["frames"] == 3
        results = run(path, labels, detector, tmp_path / "out", pairing="number")
    else:
        results = run(path, labels, detector, tmp_path / "out")
        assert rule in results["pairing"]
    assert results["frames"] == frames
    assert results["unpaired_frames"] == unpaired_frames
    assert results["unpaired_labels"] == unpaired_labels


def test_order_with_missing_labels_warns_that_pairs_may_be_wrong(
    tmp_path: Path, detector: Detector
) -> None:
    path = made.image_bag(tmp_path / "bag", 3)
    labels = made.write_labels(tmp_path / "labels", ["a", "b"])
    results = run(path, labels, detector, tmp_path / "out")
    assert any("2 labels for 3 frames" in text for text in results["warnings"])


def test_video_frames_pair_with_label_files_by_number(tmp_path: Path, detector: Detector) -> None:
    path = made.write_film(tmp_path / "film.avi", 4, "MJPG")
    labels = made.write_labels(tmp_path / "labels", ["000001", "000003"])
    results = run(path, labels, detector, tmp_path / "out")
    assert results["frames"] == 2
    assert results["unpaired_frames"] == ["000000", "000002"]


def test_unreadable_frames_and_labels_are_listed_with_their_reason(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 4)
    labels = made.write_labels(tmp_path / "labels", [f"road_{number}" for number in range(4)])
    (images / "road_1.png").write_bytes(b"\x89PNG no")
    (labels / "road_2.png").write_bytes((labels / "road_2.png").read_bytes()[:60])
    results = run(images, labels, detector, tmp_path / "out")
    assert results["frames"] == 2
    assert [entry["name"] for entry in results["bad_frames"]] == ["road_1", "road_2"]
    assert "road_2.png" in results["bad_frames"][1]["reason"]
    assert results["unpaired_labels"] == []


def test_limit_stops_and_says_so(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    labels = made.write_labels(tmp_path / "labels", [f"road_{number}" for number in range(3)])
    results = run(images, labels, detector, tmp_path / "out", limit=2)
    assert results["frames"] == 2
    assert results["unpaired_labels"] == []
    assert any("stopped after 2 frames" in text for text in results["warnings"])


# --- label pictures


def test_other_label_values_are_an_error_that_names_file_and_values(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    label = made.anomaly_label()
    label[5, 5], label[6, 6] = 7, 19
    labels = made.write_labels(tmp_path / "labels", ["road_0"], label)
    with pytest.raises(ReplayError, match=r"road_0\.png: label values 7, 19; expected 0, 1, 255"):
        run(images, labels, detector, tmp_path / "out")


def test_label_map_says_what_other_values_mean(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    label = np.full((made.HEIGHT, made.WIDTH), 3, np.uint16)
    label[made.BLOCK] = 1200
    label[0] = 11
    labels = made.write_labels(tmp_path / "labels", ["road_0"], label)
    results = run(
        images,
        labels,
        detector,
        tmp_path / "out",
        label_map=LabelMap.parse("1200:1, 11:255,*:0"),
    )
    assert results["ap"] == 1.0
    assert results["positives"] == 512
    assert results["negatives"] == made.HEIGHT * made.WIDTH - 512 - made.WIDTH


@pytest.mark.parametrize("text", ["", "1", "1:2", "x:1", "1:1;2:0", "70000:1", "*:*"])
def test_misspelt_label_maps_are_refused(text: str) -> None:
    with pytest.raises(ReplayError, match="label map"):
        LabelMap.parse(text)


def test_label_of_another_size_is_an_error_unless_resizing_is_asked_for(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    half = cv2.resize(made.anomaly_label(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    labels = made.write_labels(tmp_path / "labels", ["road_0"], half)
    with pytest.raises(ReplayError, match=r"road_0 has 96 x 48 pixels, its label .* 48 x 24"):
        run(images, labels, detector, tmp_path / "out")
    results = run(images, labels, detector, tmp_path / "out", resize_labels=True)
    assert results["ap"] == 1.0
    assert any("resized" in text for text in results["warnings"])


def test_one_bit_and_palette_pngs_are_refused_since_decoders_change_their_values(
    tmp_path: Path, detector: Detector
) -> None:
    images, labels = made.write_folder(tmp_path / "images", 1), tmp_path / "labels"
    labels.mkdir()
    ids = (made.anomaly_label() == 1).astype(np.uint8) * 255
    done, data = cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert done and data[24] == 1  # bit depth
    (labels / "road_0.png").write_bytes(data.tobytes())
    with pytest.raises(ReplayError, match=r"road_0\.png: 1-bit PNG"):
        run(images, labels, detector, tmp_path / "out")


def test_colour_labels_are_refused(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    labels = made.write_labels(tmp_path / "labels", ["road_0"], made.picture(0))
    with pytest.raises(ReplayError, match="colour"):
        run(images, labels, detector, tmp_path / "out")


@pytest.mark.parametrize("labels", ["nowhere", "/nowhere"])
def test_labels_that_are_not_there_are_named(tmp_path: Path, labels: str) -> None:
    with open_source(made.image_bag(tmp_path / "bag")) as source:
        with pytest.raises(ReplayError, match="nowhere"):
            open_labels(labels, source)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ReplayError, match="no label picture"):
            open_labels(str(tmp_path / "empty"), source)


# --- pictures


def test_results_come_with_plots_and_the_best_and_worst_frames(
    tmp_path: Path, detector: Detector
) -> None:
    images, labels = made.write_folder(tmp_path / "images", 5), tmp_path / "labels"
    for number in range(5):
        label = np.roll(made.anomaly_label(), 2 * number, axis=1)  # worse and worse
        made.write_image(labels / f"road_{number}.png", label)
    run(images, labels, detector, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "examples").iterdir())
    assert names == [
        "best_1_road_0.png",
        "best_2_road_1.png",
        "best_3_road_2.png",
        "worst_1_road_4.png",
        "worst_2_road_3.png",
        "worst_3_road_2.png",
    ]
    svg = ElementTree.parse(tmp_path / "out" / "curves.svg")
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4


def test_plotted_curve_keeps_the_area_of_the_whole_curve() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random((200, 300)) < 0.1).astype(np.uint8)
    score = (rng.random(label.shape) + 0.5 * label).astype(np.float32)
    histogram = ScoreHistogram()
    histogram.update(FrameResult(score, label))
    curves = Curves.of(histogram)
    assert len(curves.recall) <= 300
    heights = (curves.recall[1:] + curves.recall[:-1]) / 2
    area = float(np.sum(np.diff(curves.false_positive_rate) * heights))
    assert area == pytest.approx(histogram.compute().auroc, abs=0.005)
