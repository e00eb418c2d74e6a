"""Datasets converted to another size: whole, resumed, in parallel."""

from __future__ import annotations

from pathlib import Path

import cv2
import dataset_trees as trees
import numpy as np
import pytest

from training.data.catalogue import open_dataset
from training.data.conversion import Conversion, convert, resized_image
from training.data.labelled_frames import DatasetError

HALF = Conversion(size=(8, 4))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = [f"aachen_000000_{number:06d}" for number in range(5)]
    trees.cityscapes(tmp_path / "data", "val", names, (7, 26, 3, 24))
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_converted_dataset_opens_with_its_classes(root: Path, tmp_path: Path) -> None:
    assert convert("cityscapes", root, tmp_path / "small", HALF) == 5
    whole = open_dataset("cityscapes", root)
    small = open_dataset(f"folder:{tmp_path / 'small'}", root)
    assert small.names == whole.names and small.space == whole.space
    assert (small.title, small.protocols, small.source) == (
        whole.title,
        whole.protocols,
        whole.source,
    )
    assert small.stretch == 1.0
    sample = small.read(3)
    assert sample.image.shape == (4, 8, 3) and sample.truth is not None
    assert list(sample.truth[0, ::2]) == [0, 13, 255, 11]
    assert list(sample.anomaly[0, ::2]) == [0, 0, 255, 0]


def test_a_resumed_run_equals_a_whole_one(root: Path, tmp_path: Path) -> None:
    convert("cityscapes", root, tmp_path / "whole", HALF)
    convert("cityscapes", root, tmp_path / "resumed", HALF)
    images = sorted((tmp_path / "resumed" / "images").rglob("*.webp"))
    # As a stop leaves it: two images not yet written, a draft of one, one label not yet either.
    for image in images[2:4]:
        image.unlink()
    images[2].with_name(f".{images[2].name}").write_bytes(b"half an image")
    (tmp_path / "resumed" / "labels" / "aachen" / f"{images[3].stem}.png").unlink()
    untouched = images[0].stat().st_mtime_ns
    convert("cityscapes", root, tmp_path / "resumed", HALF)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert images[0].stat().st_mtime_ns == untouched


def test_parallel_equals_serial(root: Path, tmp_path: Path) -> None:
    convert("cityscapes", root, tmp_path / "serial", HALF, workers=1)
    convert("cityscapes", root, tmp_path / "parallel", HALF, workers=2)
    assert contents(tmp_path / "parallel") == contents(tmp_path / "serial")


def test_another_conversion_does_not_mix_into_a_folder(root: Path, tmp_path: Path) -> None:
    convert("cityscapes", root, tmp_path / "small", HALF)
    with pytest.raises(DatasetError, match=r"another conversion.*8x4"):
        convert("cityscapes", root, tmp_path / "small", Conversion(size=(4, 2)))
    trees.plain(tmp_path / "mine", 1)
    with pytest.raises(DatasetError, match="not converted here"):
        convert("cityscapes", root, tmp_path / "mine", HALF)


def test_a_damaged_frame_stops_the_conversion_and_is_named(root: Path, tmp_path: Path) -> None:
    image = root / "cityscapes/leftImg8bit/val/aachen/aachen_000000_000002_leftImg8bit.png"
    whole = image.read_bytes()
    image.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=image.name):
        convert("cityscapes", root, tmp_path / "small", HALF, workers=2)
    image.write_bytes(whole)
    assert convert("cityscapes", root, tmp_path / "small", HALF) == 5
    assert len(open_dataset(f"folder:{tmp_path / 'small'}", root).names) == 5


def test_exclusions_and_times_come_along(tmp_path: Path) -> None:
    stems = [f"validation_{number}" for number in (*range(1, 20), *range(30, 42))]
    trees.smiyc_track(tmp_path / "dataset_ObstacleTrack", stems, "webp")
    convert("road_obstacle21", tmp_path, tmp_path / "small", Conversion(format="png"))
    small = open_dataset(f"folder:{tmp_path / 'small'}", tmp_path)
    whole = open_dataset("road_obstacle21", tmp_path)
    assert small.excluded == whole.excluded and len(small.names) == 30
    np.testing.assert_array_equal(small.read(7).image, whole.read(7).image)
    np.testing.assert_array_equal(small.read(7).anomaly, whole.read(7).anomaly)


def test_a_squashed_frame_gets_its_true_shape_back(tmp_path: Path) -> None:
    folder = tmp_path / "cityscapes256"
    trees.write(folder / "val" / "0001.png", trees.picture(0, (16, 16)))
    trees.write(folder / "valannot" / "0001.png", trees.stripes((0, 1), (16, 16)))
    convert("cityscapes256", tmp_path, tmp_path / "wide", Conversion(size=(32, 16)))
    convert("cityscapes256", tmp_path, tmp_path / "square", Conversion(size=(8, 8)))
    assert open_dataset(f"folder:{tmp_path / 'wide'}", tmp_path).stretch == 1.0
    assert open_dataset(f"folder:{tmp_path / 'square'}", tmp_path).stretch == 2.0


@pytest.mark.parametrize("kind", ["webp", "jpg", "png"])
def test_every_format_is_read_again(root: Path, tmp_path: Path, kind: str) -> None:
    convert("cityscapes", root, tmp_path / kind, Conversion(size=(8, 4), format=kind))
    assert len(list((tmp_path / kind / "images").rglob(f"*.{kind}"))) == 5
    assert open_dataset(f"folder:{tmp_path / kind}", root).read(0).image.shape == (4, 8, 3)


def test_a_quality_out_of_range_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"quality 0.*1\.\.100"):
        convert("cityscapes", root, tmp_path / "out", Conversion(quality=0))


def test_shrinking_averages_and_a_fine_pattern_leaves_no_moire() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    for size in ((16, 16), (16, 128)):  # the second grows in rows
        small = resized_image(image, size)
        assert small.shape == (size[1], size[0], 3)
        assert np.abs(small.astype(int) - 128).max() <= 1


def test_labels_take_the_pixel_at_the_centre(tmp_path: Path) -> None:
    label = np.zeros((9, 9), np.uint8)
    label[4, 4] = 1
    folder = tmp_path / "mine"
    trees.write(folder / "images" / "a.png", trees.picture(0, (9, 9)))
    trees.write(folder / "labels" / "a.png", label)
    convert(f"folder:{folder}", tmp_path, tmp_path / "small", Conversion(size=(3, 3)))
    small = cv2.imread(str(tmp_path / "small" / "labels" / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(small, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
