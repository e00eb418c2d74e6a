"""Loaders on real frames, where they are: counts as their README states them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from training.data.catalogue import open_dataset

SHARED = os.environ.get("ANOMALY_SEG_SHARED")


@pytest.fixture(scope="module")
def root() -> Path:
    if not SHARED or not (Path(SHARED) / "data").is_dir():
        pytest.skip("no real frames: set ANOMALY_SEG_SHARED to the folder that holds data/")
    return Path(SHARED) / "data"


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("road_anomaly21", 10),
        ("road_obstacle21", 30),
        ("fishyscapes_static", 30),
        ("camvid/train", 367),
        ("camvid/val", 101),
        ("camvid/test", 233),
        ("camvid/test_seq05vd", 171),
        ("camvid/test_0001tp", 62),
        ("cityscapes256/train", 2975),
        ("cityscapes256/val", 500),
        ("idd_lite/train", 1403),
        ("idd_lite/val", 204),
        ("camvid_pasted/test", 233),
        ("idd_lite_pasted", 204),
        ("udacity_unlabelled", 14),
    ],
)
def test_every_split_has_the_stated_frames_and_its_ends_read(
    root: Path, spec: str, count: int
) -> None:
    frames = open_dataset(spec, root)
    assert len(frames.names) == len(set(frames.names)) == count
    for index in (0, count - 1):
        sample = frames.read(index)
        assert sample.name == frames.names[index]
        assert sample.image.dtype == sample.anomaly.dtype == np.uint8
        assert sample.image.shape == (*sample.anomaly.shape, 3)
        assert set(np.unique(sample.anomaly)) <= {0, 1, 255}


def test_ten_frames_of_fishyscapes_static_hold_no_anomaly(root: Path) -> None:
    frames = open_dataset("fishyscapes_static", root)
    anomalous = [(frames.read(i).anomaly == 1).any() for i in range(len(frames.names))]
    assert anomalous.count(False) == 10
