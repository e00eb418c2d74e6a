"""Single objects of label maps: annotated ones, and connected components."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.instances import (
    annotated_objects,
    background_classes,
    components,
    object_classes,
)
from training.data.label_spaces import (
    BDD_ANOMALY,
    CAMVID,
    CITYSCAPES,
    IDD_LITE,
    STREET_HAZARDS,
    LabelSpace,
)
from training.data.labelled_frames import DatasetError


def test_objects_are_those_of_the_paper_in_every_label_space() -> None:
    def names(space: LabelSpace) -> list[str]:
        return [space.names[index] for index in object_classes(space.names)]

    assert names(CITYSCAPES) == [
        *("light", "sign", "person", "rider", "car", "motorcycle", "bicycle")
    ]
    assert names(CAMVID) == ["sign", "car", "pedestrian", "bicyclist"]
    assert names(IDD_LITE) == ["living", "vehicle"]
    assert names(STREET_HAZARDS) == ["pedestrian", "vehicle", "sign"]
    assert names(BDD_ANOMALY) == ["light", "sign", "person", "rider", "car"]
    assert object_classes(["Road", "Traffic_Light", "traffic sign"]) == (1, 2)


def test_background_is_neither_object_nor_vehicle_nor_road() -> None:
    assert background_classes(CITYSCAPES.names) == (1, 2, 3, 4, 5, 8, 9, 10)
    assert background_classes(IDD_LITE.names) == (1, 4, 5, 6)


def test_a_label_space_without_objects_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"no objects among the classes road, sky"):
        object_classes(["road", "sky"])


def test_groups_and_stuff_are_no_annotated_objects() -> None:
    ids = np.array([[7, 26, 26001, 33000, 24999, 23999]], np.uint16)
    assert annotated_objects(ids).tolist() == [[0, 0, 26001, 33000, 24999, 0]]


def test_components_touch_at_corners_and_keep_classes_apart() -> None:
    labels = np.array([[13, 0, 11, 11], [0, 13, 0, 0], [0, 0, 0, 13]], np.uint8)
    found = components(labels, (11, 13), smallest=0)
    assert found.tolist() == [[2, 0, 1, 1], [0, 2, 0, 0], [0, 0, 0, 3]]


def test_the_smallest_area_grows_with_the_frame() -> None:
    # 187.5 pixels at 256x512 are 750 at 512x1024, and one pixel more than that is enough.
    for scale, least in ((1, 187), (2, 750)):
        labels = np.zeros((256 * scale, 512 * scale), np.uint8)
        labels[10, :200] = labels[20, :least] = labels[30, : least + 1] = 13
        labels[40:42, : least // 2 + 1] = 11
        found = components(labels, (11, 13), smallest=750)
        assert found[10].any() == (least < 200)
        assert not found[20].any() and found[30].any() and found[40].any()


def test_what_lies_outside_the_region_does_not_count() -> None:
    labels = np.full((8, 16), 13, np.uint8)
    region = np.zeros((8, 16), bool)
    region[:, :3], region[:, 10:] = True, True
    found = components(labels, (13,), smallest=0, region=region)
    assert found[0].tolist() == [1] * 3 + [0] * 7 + [2] * 6
