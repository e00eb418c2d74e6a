"""Unknown objects on labelled frames: the same for all, and of objects no training sees."""

from __future__ import annotations

from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest

from training.data.camvid import camvid
from training.data.catalogue import open_dataset
from training.data.outliers import Cutouts
from training.data.pasted import with_unknowns
from training.data.validation import frame_with_unknowns

NAMES = [f"0016E5_{number:05d}" for number in range(6)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pasted")
    for name, values in (("camvid", (3, 1, 11)), ("cityscapes256", (0, 2, 255))):
        for number, frame in enumerate(NAMES):
            trees.write(base / name / "val" / f"{frame}.png", trees.picture(number, (120, 160)))
            label = trees.stripes(values, (120, 160))
            trees.write(base / name / "valannot" / f"{frame}.png", label)
    trees.cutouts(base)
    return base


def test_pasted_frames_are_those_of_frame_with_unknowns(root: Path) -> None:
    frames = open_dataset("camvid_pasted", root)
    base, cutouts = camvid(root, "val"), Cutouts.read(root / "cutouts", "val")
    for index in (0, 5):
        sample = frames.read(index)
        image, anomaly, truth = frame_with_unknowns(base, index, cutouts)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.anomaly, anomaly)
        np.testing.assert_array_equal(sample.truth, truth)


def test_a_seed_decides_all_and_order_nothing(root: Path) -> None:
    base, cutouts = camvid(root, "val"), Cutouts.read(root / "cutouts", "val")
    first, again = (with_unknowns(base, cutouts, seed=3) for _ in range(2))
    again.read(4)
    np.testing.assert_array_equal(first.read(2).image, again.read(2).image)
    other = with_unknowns(base, cutouts, seed=4)
    assert any((first.read(i).anomaly != other.read(i).anomaly).any() for i in range(3))


def test_only_objects_of_the_validation_split_are_pasted(root: Path) -> None:
    train, val = (Cutouts.read(root / "cutouts", split) for split in ("train", "val"))
    assert [image.shape for image in train.images] == [(80, 60, 4)]
    assert [image.shape for image in val.images] == [(60, 60, 4)]
    base = camvid(root, "val")
    frames, expected = open_dataset("camvid_pasted", root), with_unknowns(base, val)
    foreign = with_unknowns(base, train)
    for index in range(len(NAMES)):
        np.testing.assert_array_equal(frames.read(index).image, expected.read(index).image)
    assert any((frames.read(i).image != foreign.read(i).image).any() for i in range(len(NAMES)))


def test_pasted_labels_are_known_anomaly_or_void_and_classes_end_at_objects(root: Path) -> None:
    frames = open_dataset("camvid_pasted", root)
    seen: set[int] = set()
    for index in range(len(frames.names)):
        sample = frames.read(index)
        assert sample.truth is not None
        seen |= set(np.unique(sample.anomaly).tolist())
        assert (sample.truth[sample.anomaly != 0] == 255).all()
        assert (sample.truth[sample.anomaly == 0] < 11).all()
    assert seen == {0, 1, 255}


def test_any_labelled_set_takes_objects(root: Path) -> None:
    frames = open_dataset("cityscapes256_pasted/val", root)
    assert frames.stretch == 2.0 and frames.names == tuple(NAMES)
    assert any((frames.read(index).anomaly == 1).any() for index in range(len(NAMES)))
