"""`anomaly-seg calibrate` from the command line: what is written, shown and refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import make_recordings as made
import numpy as np
import onnx
import pytest
import tiny_bundle
import yaml
from onnx import numpy_helper

from anomaly_seg_ros.bundle import SHIPPED, Bundle, write_bundle
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.replay.calibration import AllowedRate, CalibrateOptions, calibrate
from anomaly_seg_ros.replay.scene_source import SceneSource
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS

FRAMES = 120
HEIGHT, WIDTH = made.HEIGHT, made.WIDTH


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return tiny_bundle.write_tiny_bundle(folder, height=HEIGHT, width=WIDTH)


def road(score: float | None = None) -> np.ndarray:
    """A gray road, with a block of that score for the tiny bundle; uint8 [H, W, 3] RGB."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    if score is not None:
        image[made.BLOCK] = (round(100 * (1 - score)), 255, 255)
    return image


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 frames; two of them have a block, of the scores 0.55 and 0.75."""
    folder = tmp_path_factory.mktemp("drive")
    for number in range(FRAMES):
        score = {40: 0.55, 80: 0.75}.get(number)
        made.write_image(folder / f"road_{number}.png", road(score))
    return folder


def run(drive: Path | str, bundle: Path, *more: str) -> int:
    return main(["calibrate", str(drive), "--bundle", str(bundle), *more])


def test_the_lowest_threshold_that_holds_is_written_beside_the_old_points(
    tmp_path: Path, bundle: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated"
    assert run(drive, bundle, "--out", str(out), "--false-regions", "2/100") == 0
    old, new = Bundle.open(bundle), Bundle.open(out)
    point = new.operating_points["calibrated"]
    # One frame of 120 may have a region: (1 + 1) / 121 is below 2 %, (2 + 1) / 121 is not.
    assert (point.threshold, point.focus) == (0.56, "everywhere")
    assert "at most 2 false regions per 100 frames" in point.rule and "1.65%" in point.rule
    assert "120 frames" in point.data
    assert old.operating_points.items() <= new.operating_points.items()
    assert new.operating_points["calibrated_fpr01"].threshold < 0.3
    assert len(new.reference_quantiles) == len(QUANTILE_LEVELS)
    assert new.provenance["calibrations"][0]["point"] == "calibrated"
    assert [stage.files[0].sha256 for stage in new.stages] == [
        stage.files[0].sha256 for stage in old.stages
    ]
    printed = capsys.readouterr().out
    assert ">      0.56                       0.83             0.83%" in printed
    with Detector(out, "onnxruntime", "calibrated") as detector:
        masks = [detector.detect(road(score))[0].mask for score in (0.55, 0.75)]
    assert [bool(mask.any()) for mask in masks if mask is not None] == [False, True]


def test_a_region_of_interest_and_the_size_of_regions_decide_what_is_false(
    tmp_path: Path, bundle: Path, drive: Path
) -> None:
    interest = np.full((HEIGHT, WIDTH), 255, np.uint8)
    # The score is enlarged smoothly and runs out around the block.
    interest[8:40, 24:72] = 0
    region = made.write_image(tmp_path / "region.png", interest)
    for name, more in (("away", ["--region", str(region)]), ("small", ["--min-region", "1000"])):
        assert run(drive, bundle, "--out", str(tmp_path / name), *more) == 0
        points = Bundle.open(tmp_path / name).operating_points
        assert points["calibrated"].threshold == 0.3


def test_a_rate_per_minute_counts_by_the_stamps(
    tmp_path: Path, bundle: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = str(tmp_path / "drive.mp4")
    writer = cv2.VideoWriter(film, cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (WIDTH, HEIGHT))
    for _ in range(40):
        writer.write(road())
    writer.release()
    # 750 frames a minute: 20 of them are one in 37.5, which 37 frames can show and 30 cannot.
    options = ["--out", str(tmp_path / "out"), "--false-regions", "20/min"]
    assert run(film, bundle, *options, "--limit", "30") == 2
    assert "30 frames are too few" in (error := capsys.readouterr().err) and "37 or more" in error
    assert run(film, bundle, *options) == 0
    assert (
        "at most 20 false regions per minute"
        in Bundle.open(tmp_path / "out").operating_points["calibrated"].rule
    )
    printed = capsys.readouterr().out
    assert "at 12.5 frames/s: 0.00 false regions a minute" in printed
    assert "lower ones by --thresholds" in printed
    assert run(drive, bundle, "--out", str(tmp_path / "no"), "--false-regions", "20/min") == 2
    assert "rising time stamps" in capsys.readouterr().err


def test_a_bundle_of_ones_own_is_changed_in_place_and_a_name_is_never_taken_twice(
    tmp_path: Path, bundle: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(bundle, tmp_path / "own"))
    (own / "MODEL_CARD.md").write_text("card")
    assert run(drive, own, "--in-place", "--name", "rain") == 0
    assert "rain_fpr05" in Bundle.open(own).operating_points
    assert (own / "MODEL_CARD.md").read_text() == "card"
    before = (own / "bundle.yaml").read_bytes()
    assert run(drive, own, "--in-place", "--name", "rain") == 2
    assert "has the operating point rain already" in capsys.readouterr().err
    assert run(drive, own, "--in-place", "--name", "snow") == 0
    assert len(Bundle.open(own).provenance["calibrations"]) == 2
    assert (own / "bundle.yaml").read_bytes() != before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--limit", "98"], "98 frames are too few to show 1 false region per 100 frames"),
        (["--false-regions", "1/1"], "expected more than 0 and less than 1"),
        (["--false-regions", "0/100"], 'for example "1/100" or "2/min"'),
        (["--false-regions", "1/80", "--thresholds", "0.3", "0.4", "0.05"], "no threshold of 0.3"),
        (["--thresholds", "0.4", "0.3", "0.05"], "expected the lowest first"),
        (["--name", "strict"], "has the operating point strict already"),
    ],
)
def test_mistakes_are_one_error_and_nothing_is_written(
    tmp_path: Path,
    bundle: Path,
    drive: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(drive, bundle, "--out", str(tmp_path / "out"), *more) == 2
    assert message in capsys.readouterr().err.rpartition("error: ")[2]
    assert not (tmp_path / "out").exists()


def test_a_shipped_bundle_and_a_folder_in_use_are_left_alone(
    tmp_path: Path, bundle: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = next(SHIPPED.glob("*/bundle.yaml")).parent
    before = (shipped / "bundle.yaml").read_bytes()
    for more, message in (
        (["--in-place"], "is shipped and stays as it is"),
        (["--out", str(shipped)], "is in use"),
    ):
        assert main(["calibrate", str(drive), "--bundle", shipped.name, *more]) == 2
        assert message in capsys.readouterr().err
    assert (shipped / "bundle.yaml").read_bytes() == before
    assert run(drive, bundle, "--out", str(bundle)) == 2
    assert "is in use" in capsys.readouterr().err


def test_unreadable_frames_are_left_out_and_listed(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drive"
    for number in range(9):
        made.write_image(folder / f"{number}.png", road())
    (folder / "9.png").write_bytes(b"no picture")
    options = ["--out", str(tmp_path / "out"), "--false-regions", "1/10"]
    assert run(folder, bundle, *options) == 0
    printed = capsys.readouterr()
    assert "unreadable: 9: " in printed.err and "9 frames, 1 unreadable" in printed.out
    for number in range(9):
        (folder / f"{number}.png").write_bytes(b"no picture")
    assert run(folder, bundle, "--out", str(tmp_path / "none"), "--false-regions", "1/10") == 2
    assert "not one frame could be read" in capsys.readouterr().err


def test_a_score_that_is_not_finite_ends_the_run_and_names_the_frame(
    tmp_path: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = tiny_bundle.observer_graph(HEIGHT, WIDTH)
    for constant in observer.graph.initializer:
        if constant.name in {"radius", "zero"}:
            value = np.float32(np.nan if constant.name == "radius" else -np.inf)
            constant.CopyFrom(numpy_helper.from_array(np.asarray(value), constant.name))
    graphs = {"segmentation": tiny_bundle.segmentation_graph(HEIGHT, WIDTH), "observer": observer}
    for stage, graph in graphs.items():
        onnx.save(graph, tmp_path / f"{stage}.onnx")
    broken = write_bundle(
        tmp_path / "broken",
        description=tiny_bundle.tiny_description(height=HEIGHT, width=WIDTH),
        stage_files={stage: {"fp32": tmp_path / f"{stage}.onnx"} for stage in graphs},
    )
    assert run(drive, broken.folder, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "frame road_0: " in error and "not finite" in error
    assert not (tmp_path / "out").exists()


def test_drawn_scenes_are_driven_without_unknown_objects(bundle: Path) -> None:
    with SceneSource("scenes:3:9", (96, 128)) as source, Detector(bundle) as detector:
        calibrate(source, detector, CalibrateOptions(AllowedRate.parse("1/10")))
        assert isinstance(source, SceneSource)
        frames = [source.scene(index) for index in range(0, 9, 4)]
    assert not any((frame.anomaly == 1).any() for frame in frames)


def test_the_old_description_is_kept_word_for_word(
    tmp_path: Path, bundle: Path, drive: Path
) -> None:
    assert run(drive, bundle, "--out", str(tmp_path / "out")) == 0
    old = yaml.safe_load((bundle / "bundle.yaml").read_text())
    new = yaml.safe_load((tmp_path / "out" / "bundle.yaml").read_text())
    for key in ("score", "operating_points", "provenance"):
        old.pop(key)
        new.pop(key)
    assert old == new


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "--help"])
    assert capsys.readouterr().out.count("  anomaly-seg calibrate ") >= 4
