"""What the paper's networks see: every frame once an epoch, decided by seed, epoch and index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from camvid_tree import FRAMES, SIZE, camvid_tree

from training.data.catalogue import TRAINING_SETS
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.methods.obsnet.attacks import ATTACKS
from training.methods.obsnet.paper_data import (
    PAPER_DATA,
    Aim,
    TrainingViews,
    ValidationViews,
    Views,
    random_view,
    training_loader,
    validation_loader,
)

VIEWS = Views(size=(36, 48), batch=2, workers=0)
PLAIN = replace(VIEWS, size=SIZE, flip=0.0, margins=0.0, jitter=0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camvid_tree(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def frames(root: Path) -> LabelledFrames:
    return TRAINING_SETS["camvid"](root, "train")


def items(frames: LabelledFrames, views: Views = VIEWS, epoch: int = 0, **aim) -> TrainingViews:
    attack = Aim(ATTACKS["min_random_patch"], **aim)
    return TrainingViews(frames, views, 3, epoch, frames.count, attack)


def test_an_item_depends_on_seed_epoch_and_index_alone(frames: LabelledFrames) -> None:
    first, again, later = items(frames), items(frames), items(frames, epoch=1)
    for key in ("image", "label", "region"):
        assert torch.equal(first[2][key], again[2][key])
        assert not torch.equal(first[2][key], later[2][key])


def test_an_epoch_shows_each_frame_once(frames: LabelledFrames) -> None:
    for epoch in range(3):
        assert sorted(items(frames, epoch=epoch).order) == list(range(frames.count))
    assert list(items(frames).order) != list(items(frames, epoch=1).order)


def test_items_have_the_networks_size_and_void_is_a_class(frames: LabelledFrames) -> None:
    item = items(frames)[0]
    assert item["image"].shape == (36, 48, 3) and item["image"].dtype == torch.uint8
    assert item["label"].shape == (36, 48) and item["region"].shape == (1, 36, 48)
    seen = {int(value) for i in range(5) for value in items(frames, PLAIN)[i]["label"].unique()}
    assert seen == set(range(12))


def test_the_flip_mirrors_image_and_label_together(frames: LabelledFrames) -> None:
    image, label = frames.read(0)
    view, ids = random_view(image, label, replace(PLAIN, flip=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(view, image[:, ::-1])
    np.testing.assert_array_equal(ids, label[:, ::-1])
    view, ids = random_view(image, label, PLAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(view, image)
    np.testing.assert_array_equal(ids, label)


def test_margins_are_cut_off_each_side_by_the_released_shares() -> None:
    rows, columns = np.mgrid[:360, :480]
    label = np.minimum(columns // 2, 254).astype(np.uint8)
    image = np.repeat(np.minimum(rows // 2, 254).astype(np.uint8)[..., None], 3, axis=2)
    views = replace(PLAIN, size=(360, 480), margins=1.0)
    ends = []
    for seed in range(200):
        view, ids = random_view(image, label, views, np.random.default_rng(seed))
        ends.append((ids[0, 0] * 2, view[0, 0, 0] * 2, 479 - 2 * int(ids[0, -1])))
    left, top, right = np.array(ends).T
    assert 40 <= left.max() < 50 and 65 <= top.max() < 80 and 40 <= right.max() <= 50
    assert left.min() == 0 and top.min() == 0 and right.min() <= 2


def test_colours_vary_within_the_jitter(frames: LabelledFrames) -> None:
    image, label = frames.read(0)
    means = [
        random_view(image, label, replace(PLAIN, jitter=0.5), np.random.default_rng(s))[0].mean()
        for s in range(40)
    ]
    assert min(means) < 0.8 * image.mean() and max(means) > 1.1 * image.mean()
    assert min(means) >= 0.49 * image.mean()


def test_wrong_classes_are_all_or_as_released_all_but_the_last(frames: LabelledFrames) -> None:
    def drawn(**aim) -> set[int]:
        return {
            int(items(frames, epoch=epoch, **aim)[i]["wrong_class"])
            for epoch in range(40)
            for i in range(frames.count)
        }

    assert drawn() == set(range(12))
    assert drawn(all_classes=False) == set(range(11))


def test_boxes_shrink_with_the_image() -> None:
    sizes = PAPER_DATA["camvid"].sizes
    assert sizes.at((360, 480)) == sizes
    assert sizes.at((180, 240)).box == (64, 64) and sizes.at((180, 240)).shapes == (30, 40)


def test_loaders_give_whole_batches_to_train_and_every_frame_to_validate(root: Path) -> None:
    training = training_loader(root, VIEWS, seed=0, epoch=0, devices=1)
    assert [batch["image"].shape[0] for batch in training] == [2, 2]
    validation = list(validation_loader(root, VIEWS))
    assert sum(batch["image"].shape[0] for batch in validation) == FRAMES["val"]
    assert "region" not in validation[0]


def test_validation_frames_are_whole(root: Path) -> None:
    frames = TRAINING_SETS["camvid"](root, "val")
    item = ValidationViews(frames, PLAIN)[1]
    image, label = frames.read(1)
    np.testing.assert_array_equal(item["image"], image)
    np.testing.assert_array_equal(item["label"], np.where(label == 255, 11, label))


def test_more_images_in_a_step_than_there_are_and_unknown_data_are_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match="5 frames, fewer than the 8 of one step"):
        training_loader(root, VIEWS, seed=0, epoch=0, devices=4)
    with pytest.raises(DatasetError, match="'moon'; expected one of camvid"):
        Views(data="moon")
    with pytest.raises(DatasetError, match="31x48"):
        Views(size=(31, 48))
