import csv

import cv2
import numpy as np
import pytest
import torch

from training.data.camvid import camvid
from training.data.cityscapes import cityscapes256
from training.data.label_spaces import OUTLIER, VOID
from training.data.labelled_frames import DatasetError
from training.data.mixture import Mixture, MixtureSettings
from training.data.validation import SegmentationFrames


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tiny trees in the layouts of the real sets."""
    base = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, size, classes, void in (
        ("cityscapes256", (256, 256), 19, 255),
        ("camvid", (360, 480), 11, 11),
        ("idd_lite", (227, 320), 7, 255),
    ):
        for split in ("train", "val"):
            for folder in (split, f"{split}annot"):
                (base / name / folder).mkdir(parents=True)
            for number in range(3):
                coarse = rng.integers(0, classes + 1, (8, 8)).astype(np.uint8)
                coarse[coarse == classes] = void
                label = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)
                image = rng.integers(0, 256, (*size, 3), np.uint8)
                cv2.imwrite(str(base / name / split / f"{number}.jpg"), image)
                cv2.imwrite(str(base / name / f"{split}annot" / f"{number}.png"), label)
    (base / "cutouts").mkdir()
    disc = np.zeros((80, 60, 4), np.uint8)
    cv2.circle(disc, (30, 40), 28, (200, 30, 220, 255), -1)
    cv2.imwrite(str(base / "cutouts" / "disc.png"), disc)
    with (base / "cutouts" / "cutouts.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", "full_body", "split"])
        writer.writeheader()
        writer.writerow({"file": "disc.png", "full_body": "1", "split": "train"})
    return base


def mixture(root, epoch=0) -> Mixture:
    settings = MixtureSettings(
        {"cityscapes256": 1, "camvid": 1, "idd_lite": 1}, crop=(96, 160), outliers=(0.0, 0.0, 1.0)
    )
    return Mixture(root, settings, length=30, seed=5, epoch=epoch)


def test_crops_have_the_promised_shapes_and_labels(root):
    crops = mixture(root)
    spaces, outliers = set(), 0
    for index in range(len(crops)):
        crop = crops[index]
        assert crop["image"].shape == (96, 160, 3) and crop["image"].dtype == torch.uint8
        assert crop["target"].shape == (48, 80)
        spaces.add(crop["space"])
        known = crop["target"][crop["target"] < OUTLIER]
        assert int(known.max()) < (19, 11, 7)[crop["space"]]
        outliers += bool((crop["target"] == OUTLIER).any())
    assert spaces == {0, 1, 2} and outliers >= 8


def test_a_crop_depends_on_seed_epoch_and_index_alone(root):
    first, second = mixture(root), mixture(root)
    second[3]
    assert torch.equal(first[7]["image"], second[7]["image"])
    assert not torch.equal(first[7]["image"], mixture(root, epoch=1)[7]["image"])


def test_camvid_void_becomes_ignored(root):
    _, label = camvid(root, "train").read(0)
    assert 11 not in label and (label == VOID).any()


def test_whole_frames_are_measured_at_their_true_shape(root):
    frame = SegmentationFrames(cityscapes256(root, "val"), size=(64, 128))[0]
    assert frame["image"].shape == (64, 128, 3) and frame["label"].shape == (256, 512)


def test_a_missing_label_is_named(root, tmp_path):
    (tmp_path / "camvid" / "train").mkdir(parents=True)
    (tmp_path / "camvid" / "trainannot").mkdir()
    cv2.imwrite(str(tmp_path / "camvid" / "train" / "lonely.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DatasetError, match="lonely"):
        camvid(tmp_path, "train")
