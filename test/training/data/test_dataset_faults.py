"""What a person reads when files are missing, damaged or of another kind."""

from __future__ import annotations

from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest

from training.data.catalogue import ANOMALY_SETS, TRAINING_SETS, open_dataset
from training.data.label_meaning import LabelMeaning, ranges
from training.data.labelled_frames import DatasetError

DRAWN = ("procedural_anomalies", "procedural_recordings")
NEEDS_FILES = [name for name in ANOMALY_SETS if name not in DRAWN]


@pytest.mark.parametrize("name", NEEDS_FILES)
def test_missing_data_names_the_folder_and_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"dataset {name.removesuffix('_pasted')}")
    assert str(tmp_path) in message and "ROOT" in message


def test_an_empty_split_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "camvid" / "val").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"no images in .*camvid/val"):
        open_dataset("camvid/val", tmp_path)


def test_unknown_names_and_splits_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"unknown dataset 'kitti'.*camvid"):
        open_dataset("kitti", tmp_path)
    with pytest.raises(DatasetError, match=r"no split 'Test'.*test, val, train"):
        open_dataset("camvid/Test", tmp_path)


def test_all_faults_of_a_split_are_told_at_once(tmp_path: Path) -> None:
    stems = [f"validation{number:04d}" for number in range(12)]
    folder = trees.smiyc_track(tmp_path / "dataset_AnomalyTrack", stems, "jpg")
    for number in (3, 7):
        (folder / "labels_masks" / f"{stems[number]}_labels_semantic.png").unlink()
    with pytest.raises(DatasetError) as caught:
        open_dataset("road_anomaly21", tmp_path)
    message = str(caught.value)
    assert "2 frames have no label (validation0003, validation0007)" in message
    assert "12 validation frames" in message and "expected 10" in message


def test_a_listed_frame_that_is_absent_is_told(tmp_path: Path) -> None:
    folder = trees.road_anomaly(tmp_path, (0, 2))
    (folder / "frames" / "animals01.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 frames have no image \(animals01\)"):
        open_dataset("road_anomaly", tmp_path)


def test_a_list_that_is_no_json_list_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "street_hazards"
    trees.write_list(folder / "test" / "test.odgt", [{"image": "a.png"}])
    with pytest.raises(DatasetError, match=r"test\.odgt does not read as one JSON list"):
        open_dataset("street_hazards", tmp_path)


def broken_frame(tmp_path: Path, name: str, content: bytes | np.ndarray) -> DatasetError:
    """The error of reading a frame of which one file is replaced."""
    folder = trees.plain(tmp_path / "mine", 2)
    file = folder / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        trees.write(file, content)
    frames = open_dataset(f"folder:{folder}", tmp_path)
    assert frames.read(0).name == "000"
    with pytest.raises(DatasetError) as caught:
        frames.read(1)
    assert str(file) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["images/001.png", "labels/001.png"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n cut off", b"text"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    broken_frame(tmp_path, name, content)


def test_a_label_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    error = broken_frame(tmp_path, "labels/001.png", trees.stripes((0, 1), (8, 12)))
    assert "12x8" in str(error) and "16x8" in str(error)


def test_unknown_label_values_are_listed_with_what_was_expected(tmp_path: Path) -> None:
    error = broken_frame(tmp_path, "labels/001.png", trees.stripes((0, 1, 2, 3, 77)))
    assert "label values 2..3, 77" in str(error)
    assert "0 known, 1 anomaly, 255 void" in str(error)


def test_a_coloured_label_is_refused(tmp_path: Path) -> None:
    error = broken_frame(tmp_path, "labels/001.png", trees.picture())
    assert "one gray channel" in str(error)


def test_road_anomaly_with_a_region_of_interest_does_not_pass_for_the_published(
    tmp_path: Path,
) -> None:
    trees.road_anomaly(tmp_path, (0, 2, 255))
    expected = r"label values 255; expected 0\.\.1 known, 2\.\.254 anomaly"
    with pytest.raises(DatasetError, match=expected):
        open_dataset("road_anomaly", tmp_path).read(0)


def test_training_too_refuses_ids_that_are_no_class(tmp_path: Path) -> None:
    trees.annotated(tmp_path / "camvid", "train", ["a"], (0, 12))
    with pytest.raises(DatasetError, match=r"values 12; expected 0\.\.10 known, 11 void"):
        TRAINING_SETS["camvid"](tmp_path, "train").read(0)


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = trees.plain(tmp_path / "mine", 1)
    trees.write(folder / "images" / "000.jpg", trees.picture())
    with pytest.raises(DatasetError, match="several images of the same name: 000"):
        open_dataset(f"folder:{folder}", tmp_path)


def test_sixteen_bit_labels_count_as_their_values() -> None:
    stored = np.array([[0, 300]], np.uint16)
    with pytest.raises(DatasetError, match="label values 300"):
        LabelMeaning({0: 0}).translate(stored, "file")


def test_ranges_are_written_short() -> None:
    assert ranges([0, 1, 2, 3, 7]) == "0..3, 7"
    assert ranges(range(0, 40, 2)).endswith("...")
