"""Class lists that users bring: text, CSV, yaml, or one of the usual ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import CLASS_COLORS, CLASS_NAMES, write_tiny_bundle

from anomaly_seg_ros.bundle_parts import ClassSpec
from anomaly_seg_ros.creation.classes import generated_color, read_classes
from anomaly_seg_ros.errors import BundleError


def read(tmp_path: Path, text: str, suffix: str = ".txt") -> tuple[ClassSpec, ...]:
    path = tmp_path / f"classes{suffix}"
    path.write_text(text)
    return read_classes(str(path))


def refused(tmp_path: Path, text: str, suffix: str = ".txt") -> str:
    with pytest.raises(BundleError) as error:
        read(tmp_path, text, suffix)
    return str(error.value)


@pytest.mark.parametrize(("name", "count", "road"), [("cityscapes", 19, 0), ("camvid", 11, 3)])
def test_usual_lists_go_by_name(name: str, count: int, road: int) -> None:
    classes = read_classes(name)
    assert [entry.id for entry in classes] == list(range(count))
    assert [entry.id for entry in classes if entry.drivable] == [road]
    assert classes[road].color == (128, 64, 128)


def test_a_name_per_line(tmp_path: Path) -> None:
    classes = read(tmp_path, "# my classes\nroad\n\n  traffic light \nsky\n")
    assert [entry.name for entry in classes] == ["road", "traffic light", "sky"]
    assert [entry.drivable for entry in classes] == [True, False, False]
    assert len({entry.color for entry in classes}) == 3


def test_columns_in_any_order_of_lines(tmp_path: Path) -> None:
    classes = read(tmp_path, "1,car,0,0,142\n0,lane,128,64,128,true\n", ".csv")
    assert classes == (
        ClassSpec(0, "lane", (128, 64, 128), True),
        ClassSpec(1, "car", (0, 0, 142), False),
    )


def test_a_header_names_the_columns(tmp_path: Path) -> None:
    classes = read(tmp_path, "name,drivable,r,g,b\nroad,0,1,2,3\nsky,1,4,5,6\n", ".csv")
    assert classes == (ClassSpec(0, "road", (1, 2, 3)), ClassSpec(1, "sky", (4, 5, 6), True))


@pytest.mark.parametrize(
    "text",
    [
        "- road\n- sky\n",
        "classes:\n- name: road\n- name: sky\n",
        "0: road\n1: sky\n",
        "- {id: 1, name: sky}\n- {id: 0, name: road}\n",
    ],
)
def test_yaml_lists(tmp_path: Path, text: str) -> None:
    assert [entry.name for entry in read(tmp_path, text, ".yaml")] == ["road", "sky"]


def test_the_yaml_of_another_bundle_will_do(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "tiny")
    classes = read_classes(str(folder / "bundle.yaml"))
    assert [entry.name for entry in classes] == CLASS_NAMES
    assert tuple(entry.color for entry in classes) == CLASS_COLORS


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 254), st.integers(0, 254))
def test_generated_colours_differ(one: int, other: int) -> None:
    assert (generated_color(one) == generated_color(other)) == (one == other)
    assert all(0 <= value <= 255 for value in generated_color(one))


@pytest.mark.parametrize(
    ("text", "suffix", "said"),
    [
        ("", ".txt", "lists no class"),
        ("road\nroad\n", ".txt", "class 1 road stands there twice"),
        ("0,road\n2,sky\n", ".csv", "found the ids 0, 2; expected 0 to 1"),
        ("0,road\n0,sky\n", ".csv", "class 0 sky stands there twice"),
        ("0,road,1,2\n1,sky\n", ".csv", "has the colour ['1', '2'], expected r,g,b"),
        ("0,road,1,2,256\n", ".csv", "has the colour '256'"),
        ("0,road,1,2,3,perhaps\n", ".csv", "drivable 'perhaps'"),
        ("0,road,1,2,3,1,9\n", ".csv", "found the line"),
        ("label,colour\n0,road\n", ".csv", "the first line is label,colour"),
        ("- [road]\n", ".yaml", "expected id, name, color, drivable"),
        ("- {name: road, colour: [1, 2, 3]}\n", ".yaml", "expected id, name, color, drivable"),
        ("classes: road\n", ".yaml", "holds no list of classes"),
        ("a: [", ".yaml", "is no valid yaml"),
    ],
)
def test_faulty_files_are_explained(tmp_path: Path, text: str, suffix: str, said: str) -> None:
    assert said in refused(tmp_path, text, suffix)


def test_a_missing_file_is_told_from_a_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="one of the names cityscapes, camvid"):
        read_classes("citiscapes")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe road")
    with pytest.raises(BundleError, match="is not UTF-8"):
        read_classes(str(tmp_path / "names.txt"))
