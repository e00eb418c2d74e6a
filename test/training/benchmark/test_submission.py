"""The upload of SegmentMeIfYouCan, read back the way the benchmark reads it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.benchmark.results import BenchmarkError
from training.benchmark.submission import frame_id, write_smiyc_submission


def ramp(low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.linspace(low, high, 24 * 40, dtype=np.float32).reshape(24, 40)


def read(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        assert list(file) == ["value"]
        assert file["value"].compression == "gzip"
        return file["value"][:]


def test_each_frame_is_a_half_precision_file_where_the_benchmark_looks(tmp_path: Path) -> None:
    made = write_smiyc_submission(
        [("zebra0000", ramp()), ("images/cow0001", ramp(-3, 5))],
        tmp_path,
        "Ours",
        "road_anomaly21",
    )

    assert made.folder == tmp_path / "anomaly_p" / "Ours" / "AnomalyTrack-all"
    assert sorted(path.name for path in made.folder.iterdir()) == ["cow0001.hdf5", "zebra0000.hdf5"]
    values = read(made.folder / "cow0001.hdf5")
    assert values.dtype == np.float16 and values.shape == (24, 40)
    np.testing.assert_array_equal(values, ramp(-3, 5).astype(np.float16))


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        ("AnomalyTrack-test", "AnomalyTrack-all"),
        ("road_obstacle21", "ObstacleTrack-all"),
        ("ObstacleTrack-validation", "ObstacleTrack-all"),
        ("lost_and_found_no_known", "LostAndFound-test"),
        ("LostAndFound-testNoKnown", "LostAndFound-test"),
    ],
)
def test_splits_go_to_the_folder_they_are_read_from(
    tmp_path: Path, dataset: str, folder: str
) -> None:
    made = write_smiyc_submission([("a", ramp())], tmp_path, "Ours", dataset)

    assert made.folder.name == folder


def test_lost_and_found_frames_lose_folder_and_suffix() -> None:
    name = "04_Maurener_Weg_8/04_Maurener_Weg_8_000000_000030_leftImg8bit"

    assert frame_id(name) == "04_Maurener_Weg_8_000000_000030"


def test_too_few_frames_are_noted(tmp_path: Path) -> None:
    made = write_smiyc_submission([("a", ramp())], tmp_path, "Ours", "AnomalyTrack-test")

    assert made.frames == 1
    assert made.notes == ("1 frames, but AnomalyTrack-test is evaluated on 100: incomplete",)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (ramp(0, 1e6), "float16 ends at 65504"),
        (ramp(1000, 1000.9), "too close for float16"),
        (ramp(1e-9, 3e-8), "too close for float16"),
        (np.where(ramp() > 0.5, np.nan, ramp()), "480 scores are not finite"),
        (ramp().astype(np.int32), "expected float"),
        (ramp()[None], "expected float"),
        (np.zeros((0, 4), np.float32), "expected float"),
    ],
)
def test_scores_that_half_precision_would_spoil_are_refused(
    tmp_path: Path, score: np.ndarray, message: str
) -> None:
    with pytest.raises(BenchmarkError, match=f"frame a: .*{message}"):
        write_smiyc_submission([("a", score)], tmp_path, "Ours", "road_anomaly21")

    assert not list(tmp_path.rglob("*.hdf5"))


def test_a_scale_keeps_such_scores_apart_and_is_noted(tmp_path: Path) -> None:
    score = ramp(1000, 1000.9)

    made = write_smiyc_submission(
        [("a", score)], tmp_path, "Ours", "AnomalyTrack-test", scale=(1000, 1001)
    )

    values = read(made.folder / "a.hdf5").astype(np.float64)
    np.testing.assert_allclose(values, score.astype(np.float64) - 1000, atol=5e-4)
    assert "scores are mapped linearly: 1000 to 0, 1001 to 1" in made.notes


def test_constant_scores_are_no_loss_of_precision(tmp_path: Path) -> None:
    score = np.full((24, 40), 0.25, np.float32)

    made = write_smiyc_submission([("a", score)], tmp_path, "Ours", "road_anomaly21")

    assert (read(made.folder / "a.hdf5") == 0.25).all()


@given(arrays(np.float32, (6, 7), elements=st.floats(-100, 100, width=16)))
@settings(deadline=None, max_examples=30)
def test_the_order_of_scores_survives(tmp_path_factory, score: np.ndarray) -> None:
    out = tmp_path_factory.mktemp("order")

    made = write_smiyc_submission([("a", score)], out, "Ours", "road_anomaly21")

    order = np.argsort(score.ravel(), kind="stable")
    assert (np.diff(read(made.folder / "a.hdf5").ravel()[order].astype(np.float32)) >= 0).all()


@pytest.mark.parametrize(
    ("frames", "method", "dataset", "message"),
    [
        (["a"], "Ours", "cityscapes", "expected road_anomaly21"),
        (["a"], "../x", "road_anomaly21", "method"),
        (["a"], "", "road_anomaly21", "method"),
        (["x/.."], "Ours", "road_anomaly21", "frame"),
        (["one/a", "two/a"], "Ours", "road_anomaly21", "a second one named a"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    tmp_path: Path, frames: list[str], method: str, dataset: str, message: str
) -> None:
    with pytest.raises(BenchmarkError, match=message):
        write_smiyc_submission([(f, ramp()) for f in frames], tmp_path, method, dataset)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))])
def test_a_scale_without_extent_is_refused(tmp_path: Path, scale: tuple[float, float]) -> None:
    with pytest.raises(BenchmarkError, match="low before high"):
        write_smiyc_submission([], tmp_path, "Ours", "road_anomaly21", scale=scale)
