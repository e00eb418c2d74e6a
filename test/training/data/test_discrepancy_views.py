"""Crops and whole frames of synthetic discrepancies, as a network trains on them."""

from __future__ import annotations

from dataclasses import replace

import dataset_trees as trees
import discrepancy_tree as tree
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from training.data.discrepancy import make_discrepancies
from training.data.discrepancy_frames import DiscrepancyFrames, open_discrepancies
from training.data.discrepancy_views import DiscrepancyCrops, WholeDiscrepancies
from training.data.labelled_frames import DatasetError

CROP = (32, 40)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> DiscrepancyFrames:
    folder = tmp_path_factory.mktemp("discrepancy")
    mask = np.full(tree.SIZE, 255, np.uint8)
    mask[:, -10:] = 0
    asked = replace(tree.REQUEST, mask=trees.write(folder / "mask.png", mask), fraction=1.0)
    root = tree.camvid(folder / "data", 5)
    make_discrepancies(root, folder / "out", asked, tree.ClassColours())
    return open_discrepancies(folder / "out", "train")


def test_a_crop_depends_on_seed_epoch_and_index_alone(frames: DiscrepancyFrames) -> None:
    def pixels(seed: int, epoch: int) -> list[bytes]:
        crops = DiscrepancyCrops(frames, CROP, seed, epoch)
        return [crops[index]["image"].numpy().tobytes() for index in range(5)]

    assert pixels(1, 2) == pixels(1, 2)
    assert pixels(1, 2) != pixels(1, 3) and pixels(1, 2) != pixels(2, 2)


def test_loaders_of_any_size_give_the_same_crops(frames: DiscrepancyFrames) -> None:
    crops = DiscrepancyCrops(frames, CROP, seed=0, epoch=0)
    alone = [batch["target"] for batch in DataLoader(crops)]
    loaded = [batch["target"] for batch in DataLoader(crops, num_workers=2)]
    assert all(torch.equal(one, other) for one, other in zip(alone, loaded, strict=True))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_all_maps_of_a_crop_show_the_same_place(frames: DiscrepancyFrames, flip: float) -> None:
    crops = DiscrepancyCrops(frames, CROP, seed=3, epoch=0, flip=flip)
    for index in range(len(crops)):
        item = {name: values.numpy() for name, values in crops[index].items()}
        assert item["image"].shape == item["synthesis"].shape == (*CROP, 3)
        assert {values.dtype for values in item.values()} == {np.dtype(np.uint8)}
        sample = frames.read(int(crops.order[index]))
        if flip:
            item = {name: values[:, ::-1] for name, values in item.items()}
        places = [
            (top, left)
            for top in range(tree.SIZE[0] - CROP[0] + 1)
            for left in range(tree.SIZE[1] - CROP[1] + 1)
            if (sample.image[top : top + CROP[0], left : left + CROP[1]] == item["image"]).all()
        ]
        [(top, left)] = places
        window = (slice(top, top + CROP[0]), slice(left, left + CROP[1]))
        np.testing.assert_array_equal(item["labels"], sample.labels[window])
        np.testing.assert_array_equal(item["synthesis"], sample.synthesis[window])
        expected = np.where(sample.region, sample.errors, 255)[window]
        np.testing.assert_array_equal(item["target"], expected)


def test_an_epoch_shows_each_frame_once(frames: DiscrepancyFrames) -> None:
    first, second = (DiscrepancyCrops(frames, CROP, seed=0, epoch=epoch) for epoch in (0, 1))
    assert len(first) == 5 and sorted(first.order) == sorted(second.order) == list(range(5))
    assert list(first.order) != list(second.order)


def test_a_crop_may_be_the_whole_frame(frames: DiscrepancyFrames) -> None:
    for flip in (0.0, 1.0):
        crops = DiscrepancyCrops(frames, tree.SIZE, seed=0, epoch=0, flip=flip)
        shown = crops[0]["image"].numpy()
        whole = frames.read(int(crops.order[0])).image
        np.testing.assert_array_equal(shown, whole[:, ::-1] if flip else whole)


def test_a_crop_larger_than_the_frame_is_refused(frames: DiscrepancyFrames) -> None:
    with pytest.raises(DatasetError, match="crops of 384x768 from frames of 48x64"):
        DiscrepancyCrops(frames, (384, 768), seed=0, epoch=0)


def test_whole_frames_come_in_order_with_targets(frames: DiscrepancyFrames) -> None:
    whole = WholeDiscrepancies(frames, every=2)
    assert len(whole) == 3
    item, sample = whole[1], frames.read(2)
    assert torch.equal(item["image"], torch.from_numpy(sample.image))
    target = item["target"].numpy()
    assert set(np.unique(target)) == {0, 1, 255}
    np.testing.assert_array_equal(target == 255, ~sample.region)
    np.testing.assert_array_equal(target == 1, sample.errors)
