"""The Fishyscapes entry point with a real bundle: files, classes, resuming, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import ANOMALY_COLOR, CLASS_COLORS, write_tiny_bundle

from anomaly_seg_ros.detector import Detector
from training.benchmark.fishyscapes_entry import (
    UNKNOWN,
    input_images,
    main,
    train_id_table,
    write_maps,
)
from training.benchmark.results import BenchmarkError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of road with a cyan anomaly on the left, and a file that is no image."""
    folder = tmp_path / "input"
    folder.mkdir()
    for number in (0, 17):
        scene = np.full((64, 128, 3), CLASS_COLORS[0], np.uint8)
        scene[16:48, 16:48] = ANOMALY_COLOR
        scene[:, 96:] = CLASS_COLORS[13]
        name = f"{number:04d}_04_Maurener_Weg_8_000000_000030_rgb.png"
        cv2.imwrite(str(folder / name), scene[..., ::-1])
    (folder / "notes.txt").write_text("left alone")
    return folder


def start(bundle: Path, images: Path, output: Path) -> int:
    folders = ["--input", str(images), "--output", str(output)]
    return main([*folders, "--bundle", str(bundle), "--backend", "onnxruntime", "--threads", "1"])


def test_every_image_gets_score_and_classes_of_its_size(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"

    assert start(bundle, images, output) == 0

    assert sorted(path.name for path in output.glob("*.npy")) == [
        "0000_anomaly.npy",
        "0000_segmentation.npy",
        "0017_anomaly.npy",
        "0017_segmentation.npy",
    ]
    score = np.load(output / "0017_anomaly.npy")
    classes = np.load(output / "0017_segmentation.npy")
    assert score.dtype == np.float32 and score.shape == (64, 128)
    assert score[32, 32] > 0.9 and score[8, 80] < 0.1
    assert np.issubdtype(classes.dtype, np.integer) and classes.shape == (64, 128)
    assert classes[8, 80] == 0 and classes[8, 120] == 13


def test_a_stopped_run_goes_on_where_it_ended(bundle: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    start(bundle, images, output)
    (output / "0017_anomaly.npy").unlink()
    kept = (output / "0000_anomaly.npy").stat().st_mtime_ns

    with Detector(bundle, "onnxruntime") as detector:
        assert write_maps(detector, input_images(images), output) == 1

    assert (output / "0017_anomaly.npy").is_file()
    assert (output / "0000_anomaly.npy").stat().st_mtime_ns == kept


def test_another_bundle_starts_anew(bundle: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    start(bundle, images, output)
    marker = output / "run.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "hash": "another"}))

    with Detector(bundle, "onnxruntime") as detector:
        assert write_maps(detector, input_images(images), output) == 2
        assert write_maps(detector, input_images(images), output) == 0


def test_pixels_that_the_network_did_not_see_are_least_anomalous(
    images: Path, tmp_path: Path
) -> None:
    cropping = write_tiny_bundle(tmp_path / "bundle", fit="crop")
    wide = np.full((64, 256, 3), CLASS_COLORS[0], np.uint8)
    cv2.imwrite(str(images / "0020_wide.png"), wide[..., ::-1])
    output = tmp_path / "output"

    assert start(cropping, images, output) == 0

    score = np.load(output / "0020_anomaly.npy")
    classes = np.load(output / "0020_segmentation.npy")
    assert np.isfinite(score).all()
    unseen = classes == UNKNOWN
    assert unseen.any() and not unseen.all()
    assert (score[unseen] == score.min()).all()


def test_classes_are_found_by_name_whatever_their_spelling(tmp_path: Path) -> None:
    five = write_tiny_bundle(tmp_path / "bundle", classes=8)

    with Detector(five, "onnxruntime") as detector:
        table = train_id_table(detector.bundle)

    assert list(table[:8]) == list(range(8))  # traffic_light and traffic_sign among them
    assert (table[8:] == UNKNOWN).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "none among 0 entries"),
        (["notes.txt"], "none among 1 entries"),
        (["0000_a.png", "12_b.png", "x.png"], "12_b.png: does not start with four digits"),
        (["0000_a.png", "0000_b.png"], "0000_b.png: same number as 0000_a.png"),
    ],
)
def test_an_input_that_does_not_fit_is_one_clear_error(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")

    with pytest.raises(BenchmarkError, match=message):
        input_images(tmp_path)


def test_a_missing_input_folder_is_said(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(bundle, tmp_path / "nothing", tmp_path) == 2

    assert "no such folder" in capsys.readouterr().err


def test_a_damaged_image_is_named(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "0001_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    assert start(bundle, images, tmp_path / "output") == 2

    assert "0001_broken.png" in capsys.readouterr().err


def test_the_container_can_start_it_without_torch() -> None:
    check = (
        "import sys; sys.modules['torch'] = None;"
        "from training.benchmark.fishyscapes_entry import main; main(['--help'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "/input" in done.stdout or "--input" in done.stdout


def test_the_definition_copies_what_the_package_needs_and_calls_it() -> None:
    text = (ROOT / "training/benchmark/fishyscapes.def").read_text()

    copied = [line.split() for line in text.split("%files")[1].split("%post")[0].splitlines()]
    for source, target in filter(None, copied):
        assert (ROOT / source).exists(), source
        assert target == f"/opt/anomaly_seg_ros/{source}"
    assert "python -m training.benchmark.fishyscapes_entry" in text.split("%runscript")[1]
