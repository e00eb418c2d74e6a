"""Unpaved ways and ordinary drives: other backgrounds than a city's, as training draws them."""

from __future__ import annotations

from pathlib import Path

import cv2
import dataset_trees as trees
import numpy as np
import pytest
import torch

from training.data.catalogue import MIXTURE_SETS, TRAINING_SETS
from training.data.label_spaces import NORMAL, OUTLIER, VOID, YAMAHA_CMU
from training.data.labelled_frames import DatasetError
from training.data.mixture import Mixture, MixtureSettings
from training.methods.obsnet.training import observer_truth, segmentation_errors


def drive(root: Path) -> Path:
    folder = root / "normal_drives" / "monday"
    folder.mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((96, 160, 3), 90 * number, np.uint8))
    return folder


def test_every_way_is_a_trail_and_everything_that_grows_is_green(tmp_path: Path) -> None:
    trees.annotated(tmp_path / "yamaha_cmu", "train", ["iid000008"], tuple(range(8)))
    trees.annotated(tmp_path / "yamaha_cmu", "val", ["iid000010"], (8, 255))
    train, val = (TRAINING_SETS["yamaha_cmu"](tmp_path, split) for split in ("train", "val"))
    assert train.space is YAMAHA_CMU
    assert trees.stripes_of(train.read(0)[1], 8) == [VOID, 0, 1, 0, 0, 3, 1, 1]
    assert trees.stripes_of(val.read(0)[1], 2) == [2, VOID]


def test_missing_backgrounds_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="yamaha_v0"):
        TRAINING_SETS["yamaha_cmu"](tmp_path, "train")
    with pytest.raises(DatasetError, match=r"no images in .*normal_drives"):
        MIXTURE_SETS["normal_drives"](tmp_path, "train")
    drive(tmp_path)
    with pytest.raises(DatasetError, match="no split val"):
        MIXTURE_SETS["normal_drives"](tmp_path, "val")


def test_a_drive_teaches_the_observer_alone(tmp_path: Path) -> None:
    drive(tmp_path)
    settings = MixtureSettings({"normal_drives": 1.0}, crop=(64, 96), colour_share=0.0)
    item = Mixture(tmp_path, settings, length=4, seed=0, epoch=0)[1]
    target = item["target"][None].long()
    assert target.unique().tolist() == [NORMAL]
    unknown, valid = observer_truth(target)
    assert bool(valid.all()) and not bool(unknown.any())
    space = torch.tensor([item["space"]])
    assert not bool(segmentation_errors(torch.randn(1, 19, 32, 48), target, space).any())


def test_unknown_objects_are_pasted_into_drives_too(tmp_path: Path) -> None:
    drive(tmp_path)
    (tmp_path / "cutouts").mkdir()
    cv2.imwrite(str(tmp_path / "cutouts" / "box.png"), np.full((40, 40, 4), 255, np.uint8))
    (tmp_path / "cutouts" / "cutouts.csv").write_text("file,full_body,split\nbox.png,1,train\n")
    settings = MixtureSettings({"normal_drives": 1.0}, crop=(64, 96), outliers=(0.0, 0.0, 0.0, 1.0))
    crops = Mixture(tmp_path, settings, length=12, seed=0, epoch=0)
    found = torch.cat([crops[index]["target"].unique() for index in range(12)]).unique().tolist()
    assert NORMAL in found and OUTLIER in found and set(found) <= {NORMAL, OUTLIER, VOID}
