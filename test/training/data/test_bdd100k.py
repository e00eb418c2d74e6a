"""BDD100K as a training set: every labelled frame, in the layouts that are about."""

from __future__ import annotations

from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest

from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import DatasetError

FRAMES = {"train": [(0, 13, 255), (0, 17, 255, 18)], "val": [(0, 2)]}


@pytest.mark.parametrize("layout", ["new", "old"])
def test_frames_hold_train_ids(tmp_path: Path, layout: str) -> None:
    trees.bdd100k(tmp_path, FRAMES, layout)
    train, val = (TRAINING_SETS["bdd100k"](tmp_path, split) for split in ("train", "val"))
    assert (train.count, val.count) == (2, 1) and train.space is CITYSCAPES
    image, label = train.read(1)
    assert image.shape == (*label.shape, 3)
    assert list(np.unique(label)) == [0, 17, 18, 255]


def test_labels_of_another_encoding_are_refused(tmp_path: Path) -> None:
    trees.bdd100k(tmp_path, {"train": [(2, 19, 20, 1)], "val": [(2,)]})
    with pytest.raises(DatasetError, match=r"label values 19\.\.20; expected 0\.\.18 known"):
        TRAINING_SETS["bdd100k"](tmp_path, "train").read(0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder bdd100k/"):
        TRAINING_SETS["bdd100k"](tmp_path, "train")
    (tmp_path / "bdd100k").mkdir()
    with pytest.raises(DatasetError, match=r"no labelled images in .*images/10k/train/"):
        TRAINING_SETS["bdd100k"](tmp_path, "train")
