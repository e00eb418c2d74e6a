"""The benchmark from frames to figures: equal numbers by any way, nothing lost, faults named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.metrics import ExactScores, FrameResult, SmiycPixel
from training.benchmark.contenders import ContenderSpec
from training.benchmark.operating_point import Calibration
from training.benchmark.report import write_report
from training.benchmark.results import BenchmarkError, BenchmarkResults, Figure
from training.benchmark.results_json import read_results
from training.benchmark.run import BenchmarkOptions, benchmark, write_submissions
from training.benchmark.scored_frames import EvaluationSize
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import LabelledFrames

sys.path.insert(0, str(Path(__file__).parent))
import toy_models

FRAMES = 11  # more than one task
GREEN = ContenderSpec("python", "toy_models:green")


@pytest.fixture()
def frames(tmp_path: Path) -> Path:
    """A folder of noisy frames with a greener rectangle in most; some void; the last all known."""
    folder = tmp_path / "frames"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(FRAMES):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 160, (48, 64, 3), np.uint8)
        label = np.zeros((48, 64), np.uint8)
        label[:4] = 255
        if number < FRAMES - 1:
            top, left = rng.integers(6, 20), rng.integers(0, 30)
            label[top : top + 14, left : left + 20] = 1
            image[top : top + 14, left : left + 20, 1] += 60
        write(folder, f"{number:02d}", image, label)
    return folder


def write(folder: Path, name: str, image: np.ndarray, label: np.ndarray) -> None:
    cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
    cv2.imwrite(str(folder / "labels" / f"{name}.png"), label)


def options(frames: Path, out: Path, *contenders: ContenderSpec) -> BenchmarkOptions:
    return BenchmarkOptions(
        contenders=contenders or (GREEN,),
        datasets=(f"folder:{frames}",),
        root=frames.parent,
        out=out,
        protocols=("pooled",),
        repeats=50,
        pictures=1,
    )


def row(results: BenchmarkResults, protocol: str, contender: str = GREEN.name) -> dict[str, Figure]:
    [table] = [table for table in results.tables if table.protocol == protocol]
    return table.rows[contender]


def truth_of(frames: Path, number: int) -> FrameResult:
    image = cv2.imread(str(frames / "images" / f"{number:02d}.png"))
    label = cv2.imread(str(frames / "labels" / f"{number:02d}.png"), cv2.IMREAD_GRAYSCALE)
    return FrameResult(image[..., 1].astype(np.float32) / 255, label)


def test_figures_are_those_of_the_metrics_on_the_same_frames(frames: Path, tmp_path: Path) -> None:
    asked = replace(
        options(frames, tmp_path / "out"), protocols=("pooled", "fishyscapes", "smiyc_obstacle")
    )
    results = benchmark(asked)
    exact, pixel = ExactScores(), SmiycPixel(half=True)
    for number in range(FRAMES):
        exact.update(truth_of(frames, number))
        pixel.update(truth_of(frames, number))
    scores, official = exact.compute(), pixel.compute()
    for key in ("ap", "auroc", "fpr95"):
        value = getattr(scores, key)
        assert row(results, "fishyscapes")[key].value == pytest.approx(value, abs=1e-12)
        near = row(results, "pooled")[key]
        assert near.value == pytest.approx(value, abs=near.error + 1e-12)
        assert near.low is not None and near.high is not None
        assert near.low <= value <= near.high
        mine = row(results, "smiyc_obstacle")[key].value
        assert mine == pytest.approx(getattr(official, key), abs=1e-12)
    assert 0 < (row(results, "smiyc_obstacle")["f1"].value or 0) <= 1
    [run] = results.runs
    assert [entry.name for entry in run.rows] == [f"{number:02d}" for number in range(FRAMES)]
    assert run.rows[-1].ap is None  # no anomaly in the last one
    assert sum(entry.anomaly_pixels for entry in run.rows) == scores.positives
    assert results.datasets[0].pixels == {
        "known": scores.negatives,
        "anomaly": scores.positives,
        "void": FRAMES * 4 * 64,
    }


def same(one: BenchmarkResults, other: BenchmarkResults) -> None:
    assert one.tables == other.tables
    assert one.datasets == other.datasets
    for mine, theirs in zip(one.runs, other.runs, strict=True):
        assert mine.curves == theirs.curves
        assert mine.spread == theirs.spread
        assert mine.breakdowns == theirs.breakdowns
        assert [replace(entry, seconds=0) for entry in mine.rows] == [
            replace(entry, seconds=0) for entry in theirs.rows
        ]


def test_processes_give_the_numbers_of_one(frames: Path, tmp_path: Path) -> None:
    bundle = ContenderSpec("bundle", str(write_tiny_bundle(tmp_path / "tiny")))
    protocols = ("pooled", "smiyc_anomaly", "caos", "pans", "resynthesis_roc")
    alone = replace(options(frames, tmp_path / "a", bundle), protocols=protocols)
    one = benchmark(alone)
    two = benchmark(replace(alone, out=tmp_path / "b", workers=2))
    same(one, two)


@pytest.mark.slow
def test_ray_workers_give_the_numbers_of_one(frames: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    bundle = ContenderSpec("bundle", str(write_tiny_bundle(tmp_path / "tiny")))
    alone = replace(options(frames, tmp_path / "a", bundle), protocols=("pooled", "smiyc_anomaly"))
    same(benchmark(alone), benchmark(replace(alone, out=tmp_path / "b", workers=2, ray="local")))


def test_a_stopped_run_predicts_only_what_is_missing(frames: Path, tmp_path: Path) -> None:
    asked = options(frames, tmp_path / "out")
    whole = benchmark(asked)
    stored = sorted((tmp_path / "out" / "predictions").rglob("*.npz"))
    assert len(stored) == FRAMES
    for file in stored[3:7]:
        file.unlink()
    toy_models.CALLS.clear()
    again = benchmark(asked)
    assert len(toy_models.CALLS) == 4
    same(whole, again)


def test_other_protocols_need_no_new_predictions(frames: Path, tmp_path: Path) -> None:
    asked = options(frames, tmp_path / "out")
    benchmark(asked)
    toy_models.CALLS.clear()
    benchmark(replace(asked, protocols=("caos",)))
    assert not toy_models.CALLS


def test_predictions_of_other_settings_are_not_mixed(frames: Path, tmp_path: Path) -> None:
    asked = options(frames, tmp_path / "out")
    benchmark(asked)
    with pytest.raises(BenchmarkError, match=r"size: native size before, 24 rows, area now"):
        benchmark(replace(asked, size=EvaluationSize(height=24)))
    with pytest.raises(BenchmarkError, match="not empty and holds no benchmark"):
        benchmark(replace(asked, out=frames))


def test_a_torn_prediction_is_an_error_that_names_the_mend(frames: Path, tmp_path: Path) -> None:
    asked = options(frames, tmp_path / "out")
    benchmark(asked)
    file = sorted((tmp_path / "out" / "predictions").rglob("*.npz"))[2]
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(BenchmarkError, match=r"02\.npz: not a whole prediction.*Delete it"):
        benchmark(asked)


def test_a_damaged_image_is_left_out_and_named(frames: Path, tmp_path: Path) -> None:
    (frames / "images" / "04.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    results = benchmark(options(frames, tmp_path / "out"))
    [run] = results.runs
    assert run.frames == FRAMES - 1
    [(name, reason)] = run.excluded
    assert name == "04" and "04.png" in reason
    assert any("04" in warning for warning in results.warnings)
    page = write_report(results, tmp_path / "out").read_text()
    assert "04.png" in page
    with pytest.raises(AnomalySegError, match=r"04\.png"):
        benchmark(replace(options(frames, tmp_path / "strict"), strict=True))


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (np.zeros((47, 64), np.uint8), "47"),
        (np.full((48, 64), 7, np.uint8), "7"),
    ],
)
def test_a_label_that_does_not_fit_is_left_out_and_named(
    frames: Path, tmp_path: Path, label: np.ndarray, match: str
) -> None:
    cv2.imwrite(str(frames / "labels" / "01.png"), label)
    [run] = benchmark(options(frames, tmp_path / "out")).runs
    [(name, reason)] = run.excluded
    assert name == "01" and match in reason and "01.png" in reason


def test_no_frame_at_all_is_an_error(frames: Path, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        for file in (frames / folder).iterdir():
            file.unlink()
    with pytest.raises(AnomalySegError, match="images"):
        benchmark(options(frames, tmp_path / "out"))


def test_without_an_anomaly_figures_say_why(frames: Path, tmp_path: Path) -> None:
    for number in range(FRAMES):
        cv2.imwrite(str(frames / "labels" / f"{number:02d}.png"), np.zeros((48, 64), np.uint8))
    protocols = ("pooled", "smiyc_anomaly", "caos")
    results = benchmark(replace(options(frames, tmp_path / "out"), protocols=protocols))
    for protocol in protocols:
        for figure in row(results, protocol).values():
            assert figure.value is None
            assert figure.reason
    assert "0 anomalous" in row(results, "pooled")["ap"].reason
    assert results.runs[0].curves is None
    assert "0 anomalous" in write_report(results, tmp_path / "out").read_text()


def test_a_protocol_that_needs_classes_says_so(frames: Path, tmp_path: Path) -> None:
    asked = replace(options(frames, tmp_path / "out"), protocols=("segmentation", "pooled"))
    results = benchmark(asked)
    assert "classes" in row(results, "segmentation")["miou"].reason
    assert row(results, "pooled")["ap"].value is not None


def test_a_score_that_is_no_number_ends_the_run(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="not finite on 00"):
        benchmark(options(frames, tmp_path / "a", ContenderSpec("python", "toy_models:nan")))
    with pytest.raises(BenchmarkError, match=r"score float32 \[47, 64\]; expected float32 \[48"):
        benchmark(options(frames, tmp_path / "b", ContenderSpec("python", "toy_models:small")))
    with pytest.raises(BenchmarkError, match="cannot be imported"):
        benchmark(options(frames, tmp_path / "c", ContenderSpec("python", "toy_models:absent")))


def test_a_calibrated_threshold_keeps_its_promise_on_the_same_frames(
    frames: Path, tmp_path: Path
) -> None:
    calibration = Calibration.parse(f"folder:{frames}", "false_alarms=0.12")
    asked = replace(options(frames, tmp_path / "out"), calibration=calibration)
    results = benchmark(asked)
    point = row(results, "operating_point")
    assert (point["false_alarms"].value or 1) <= 0.12
    assert (point["recall"].value or 0) > 0.1
    assert any("conformal" in str(value) for value in results.settings.values())
    with pytest.raises(AnomalySegError, match="11 frames cannot show a risk"):
        benchmark(
            replace(
                asked,
                out=tmp_path / "few",
                calibration=Calibration.parse(f"folder:{frames}", "false_alarms=0.01"),
            )
        )


def test_a_vehicle_sees_late_results(tmp_path: Path) -> None:
    asked = BenchmarkOptions(
        contenders=(GREEN,),
        datasets=("procedural_recordings",),
        root=tmp_path,
        out=tmp_path / "out",
        protocols=("pooled", "streaming"),
        repeats=0,
        pictures=0,
        limit=4,
        size=EvaluationSize(height=96),
    )
    instant = benchmark(replace(asked, latency=0.0))
    assert row(instant, "streaming")["lost"].value == 0
    late = benchmark(replace(asked, latency=10.0))
    assert row(late, "streaming")["auroc"].value == 0.5  # nothing was ever there in time
    assert row(late, "pooled") == row(instant, "pooled")


def test_a_smaller_size_is_scored_at_that_size(frames: Path, tmp_path: Path) -> None:
    toy_models.CALLS.clear()
    asked = replace(options(frames, tmp_path / "out"), size=EvaluationSize.parse("x32", "bilinear"))
    results = benchmark(asked)
    assert set(toy_models.CALLS) == {(24, 32, 3)}
    assert sum(results.datasets[0].pixels.values()) == FRAMES * 24 * 32


def test_the_report_holds_every_figure(frames: Path, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    both = (GREEN, ContenderSpec("bundle", str(bundle), "max_softmax"))
    out = tmp_path / "out"
    results = benchmark(options(frames, out, *both))
    page = write_report(results, out).read_text()
    assert "tiny, max_softmax" in page and "toy_models:green" in page
    assert read_results(out / "results.json").tables == results.tables
    for picture in (entry for run in results.runs for entry in run.pictures):
        assert cv2.imread(str(out / picture.file)) is not None


def test_methods_that_need_the_network_are_refused_for_bundles(
    frames: Path, tmp_path: Path
) -> None:
    bundle = str(write_tiny_bundle(tmp_path / "tiny"))
    with pytest.raises(BenchmarkError, match="odin needs the network itself"):
        benchmark(options(frames, tmp_path / "a", ContenderSpec("bundle", bundle, "odin")))
    with pytest.raises(BenchmarkError, match="unknown method 'magic'"):
        benchmark(options(frames, tmp_path / "b", ContenderSpec("bundle", bundle, "magic")))


def test_only_the_benchmarks_own_datasets_are_submitted(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="nothing to submit"):
        write_submissions(options(frames, tmp_path / "out"), tmp_path / "upload")


def test_stored_scores_become_an_upload(frames: Path, tmp_path: Path) -> None:
    frames.rename(tmp_path / "RoadAnomaly21")
    asked = replace(options(frames, tmp_path / "out"), datasets=("road_anomaly21",))
    benchmark(asked)
    [submission] = write_submissions(asked, tmp_path / "upload")
    assert submission.frames == FRAMES
    files = sorted((tmp_path / "upload").rglob("*.hdf5"))
    assert len(files) == FRAMES
    with h5py.File(files[0]) as file:
        value = file["value"][()]
    image = cv2.imread(str(tmp_path / "RoadAnomaly21" / "images" / f"{files[0].stem}.png"))
    assert value.dtype == np.float16
    np.testing.assert_allclose(value, image[..., 1] / 255, atol=1e-3)


def test_a_baseline_with_statistics_says_what_it_was_fitted_on(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (64, 128, 3), np.uint8), rng.integers(0, 19, (64, 128), np.uint8)
    tiny = LabelledFrames("tiny", CITYSCAPES, 5, lambda index: shown)
    monkeypatch.setitem(TRAINING_SETS, "tiny", lambda root, split: tiny)
    contender = ContenderSpec("bundle", str(write_tiny_bundle(tmp_path / "bundle")), "temperature")
    asked = replace(options(frames, tmp_path / "out", contender), fit_set="tiny", fit_frames=4)
    results = benchmark(asked)
    assert results.settings["baselines fitted on"] == "4 frames of tiny"
    [kept] = (tmp_path / "out" / "fitted").iterdir()
    before = kept.stat().st_mtime_ns
    same(results, benchmark(asked))
    assert kept.stat().st_mtime_ns == before  # fitted once
    plain = benchmark(options(frames, tmp_path / "plain"))
    assert "baselines fitted on" not in plain.settings
