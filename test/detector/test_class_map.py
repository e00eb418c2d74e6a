"""A user's own classes in place of the network's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import ANOMALY_COLOR, CLASS_NAMES

from anomaly_seg_ros.bundle import Bundle, ClassSpec
from anomaly_seg_ros.class_map import ClassMap
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import BundleError

OWN = """classes:
  - {id: 7, name: ground, color: [1, 2, 3], from: [road, sidewalk]}
  - {id: 2, name: everything else, color: [4, 5, 6], from: rest}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return path


def test_labels_carry_the_users_ids_and_the_bundle_their_names(
    bundle: Bundle, own: Path, road: np.ndarray
) -> None:
    mapped = bundle.with_classes(own)
    with Detector(bundle, threads=1) as plain, Detector(mapped, threads=1) as detector:
        network = plain.detect(road, ("labels",))[0].labels
        labels = detector.detect(road, ("labels",))[0].labels
    assert network is not None and labels is not None
    ground = np.isin(network, [CLASS_NAMES.index("road"), CLASS_NAMES.index("sidewalk")])
    assert ground.any() and not ground.all()
    assert np.array_equal(labels, np.where(ground, 7, 2))
    assert mapped.class_names() == {7: "ground", 2: "everything else"}
    assert tuple(mapped.palette()[7]) == (1, 2, 3)


def test_what_is_drivable_and_the_mask_stay_the_networks_affair(
    bundle: Bundle, own: Path, road: np.ndarray
) -> None:
    road[80:112, 96:144] = ANOMALY_COLOR
    with (
        Detector(bundle, threads=1, focus="road") as plain,
        Detector(bundle.with_classes(own), threads=1, focus="road") as detector,
    ):
        expected, found = (d.detect(road, ("mask", "labels"))[0] for d in (plain, detector))
    assert expected.mask is not None and expected.mask.any()
    assert np.array_equal(found.mask, expected.mask)


def test_a_pixel_that_was_not_looked_at_stays_255(bundles: dict[str, Bundle], own: Path) -> None:
    wide = np.zeros((64, 400, 3), np.uint8)
    with Detector(bundles["crop"].with_classes(own), threads=1) as detector:
        labels = detector.detect(wide, ("labels",))[0].labels
    assert labels is not None and (labels[:, 0] == 255).all() and (labels[:, 200] != 255).all()


def test_another_file_takes_the_place_of_the_first(
    bundle: Bundle, own: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("classes: [{id: 0, name: all, color: [9, 9, 9], from: rest}]\n")
    again = bundle.with_classes(own).with_classes(second)
    assert again.class_names() == {0: "all"}
    assert again.network_classes == bundle.classes
    assert again.class_map is not None and (again.class_map.table[: len(CLASS_NAMES)] == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: []\n", "classes: found \\[\\], expected a list of mappings"),
        (OWN.replace("rest", "[car]"), "found no entry for building, .*`from: rest`"),
        (OWN.replace("sidewalk", "moat"), "expected rest, or a list of the network's classes"),
        (OWN.replace("id: 2", "id: 7"), "id 7 stands twice"),
        (OWN.replace("everything else", "ground"), "name ground stands twice"),
        (OWN.replace("rest", "[road]"), "class of the network road stands twice"),
        (OWN.replace("[road, sidewalk]", "rest"), "from rest stands twice"),
        (OWN.replace("id: 2", "id: 255"), "found 255, expected a whole number, 0 to 254"),
        (OWN.replace("from: rest", "of: rest"), "from: found nothing, expected rest"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    text: str, message: str, bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BundleError, match=message):
        bundle.with_classes(path)


def test_a_class_whose_name_is_part_of_rest_is_no_rest(bundle: Bundle, tmp_path: Path) -> None:
    network = (ClassSpec(0, "es", (1, 1, 1)), ClassSpec(1, "road", (2, 2, 2)))
    path = tmp_path / "own.yaml"
    path.write_text(
        "classes:\n  - {id: 5, name: es, color: [0, 0, 0], from: [es]}\n"
        "  - {id: 6, name: other, color: [0, 0, 0], from: rest}\n"
    )
    assert ClassMap.read(path, network).table[:2].tolist() == [5, 6]


def test_a_file_that_is_missing_is_named(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nothing\.yaml is missing"):
        bundle.with_classes(tmp_path / "nothing.yaml")
