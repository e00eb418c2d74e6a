"""The split of BDD100K by what its labels hold, in both encodings."""

from __future__ import annotations

from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest

from training.data.bdd_anomaly import SPLITS_FILE, build_splits
from training.data.catalogue import open_dataset
from training.data.label_spaces import BDD_ANOMALY
from training.data.labelled_frames import DatasetError

# Train ids: car only; bus; a motorcycle; a bicycle in val; an ordinary val frame.
Frames = dict[str, list[tuple[int, ...]]]
TRAIN_IDS: Frames = {
    "train": [(0, 13, 255), (0, 15, 8, 1), (0, 17, 255, 13)],
    "val": [(0, 18, 8, 255), (0, 2)],
}


def shifted(frames: Frames) -> Frames:
    def shift(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(1 if value == 255 else value + 2 for value in values)

    return {part: [shift(values) for values in all_] for part, all_ in frames.items()}


@pytest.mark.parametrize("layout", ["new", "old", "caos"])
def test_anomalous_frames_of_train_and_val_are_the_test(tmp_path: Path, layout: str) -> None:
    frames = shifted(TRAIN_IDS) if layout == "caos" else TRAIN_IDS
    trees.bdd100k(tmp_path, frames, layout)
    splits = build_splits(tmp_path, workers=1)
    assert splits.encoding == ("shifted" if layout == "caos" else "train_ids")
    assert open_dataset("bdd_anomaly/train", tmp_path).names == ("train/train00", "train/train01")
    assert open_dataset("bdd_anomaly/validation", tmp_path).names == ("val/val01",)
    test = open_dataset("bdd_anomaly", tmp_path)
    assert test.names == ("train/train02", "val/val00")
    assert test.space == BDD_ANOMALY and test.protocols[0] == "caos"
    sample = test.read(0)
    assert sample.truth is not None
    assert list(sample.anomaly[0, ::4]) == [0, 1, 255, 0]
    assert list(sample.truth[0, ::4]) == [0, 255, 255, 13]


def test_workers_change_nothing(tmp_path: Path) -> None:
    trees.bdd100k(tmp_path, TRAIN_IDS)
    build_splits(tmp_path, workers=1)
    alone = (tmp_path / SPLITS_FILE).read_bytes()
    build_splits(tmp_path, workers=2)
    assert (tmp_path / SPLITS_FILE).read_bytes() == alone


def test_a_mixture_of_encodings_is_refused(tmp_path: Path) -> None:
    mixed: Frames = {"train": [(0, 13, 255), (2, 15, 1)], "val": [(0, 2)]}
    trees.bdd100k(tmp_path, mixed)
    with pytest.raises(DatasetError, match=r"two encodings.*train01\.png"):
        build_splits(tmp_path, workers=1)


def test_values_of_neither_encoding_are_refused(tmp_path: Path) -> None:
    trees.bdd100k(tmp_path, {"train": [(0, 13, 40)], "val": [(0, 2)]})
    with pytest.raises(DatasetError, match=r"read as train_ids.*train00\.png"):
        build_splits(tmp_path, workers=1)


def test_labels_exchanged_after_the_split_are_noticed(tmp_path: Path) -> None:
    trees.bdd100k(tmp_path, TRAIN_IDS)
    build_splits(tmp_path, workers=1)
    trees.bdd100k(tmp_path, shifted(TRAIN_IDS))
    with pytest.raises(DatasetError, match="no longer read as train_ids"):
        open_dataset("bdd_anomaly", tmp_path)


def test_images_without_a_label_are_passed_over(tmp_path: Path) -> None:
    folder = trees.bdd100k(tmp_path, TRAIN_IDS)
    trees.write(folder / "images/10k/train/unlabelled.jpg", trees.picture())
    splits = build_splits(tmp_path, workers=1)
    assert sum(len(frames) for frames in splits.frames.values()) == 5


def test_before_the_split_is_built_the_error_tells_the_command(tmp_path: Path) -> None:
    trees.bdd100k(tmp_path, TRAIN_IDS)
    with pytest.raises(DatasetError, match="prepare bdd_anomaly ROOT"):
        open_dataset("bdd_anomaly", tmp_path)


def test_truth_is_the_same_in_both_encodings(tmp_path: Path) -> None:
    truths = []
    for name, frames in (("ids", TRAIN_IDS), ("shifted", shifted(TRAIN_IDS))):
        trees.bdd100k(tmp_path / name, frames)
        build_splits(tmp_path / name, workers=1)
        sample = open_dataset("bdd_anomaly/train", tmp_path / name).read(1)
        assert sample.truth is not None
        truths.append(sample.truth)
    np.testing.assert_array_equal(truths[0], truths[1])
