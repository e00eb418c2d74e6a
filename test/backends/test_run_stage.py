"""One stage alone on given tensors computes what the whole run computes, or says why it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from anomaly_seg_ros.backends import Runner, RunnerInfo, RunResult, load_runner
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BackendError


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (1, 64, 128, 3), dtype=np.uint8)


def test_stages_one_by_one_give_the_bits_of_the_whole_run(
    three_stages: Bundle, image: np.ndarray
) -> None:
    runner = load_runner(three_stages, "onnxruntime", threads=1)
    tensors = {"image": image}
    for stage in three_stages.stages:
        made = runner.run_stage(stage.name, tensors)
        assert list(made) == [spec.name for spec in stage.outputs]
        tensors.update(made)
    whole = runner.run(image, tuple(three_stages.outputs())).arrays
    for name, array in whole.items():
        np.testing.assert_array_equal(tensors[name], array)
    runner.close()


def test_a_stage_takes_tensors_of_others(runner: Runner, image: np.ndarray) -> None:
    cyan = np.zeros((1, 3, 16, 32), np.float32)
    cyan[:, 1:] = 1
    image[:] = (0, 255, 255)
    made = runner.run_stage("observer", {"image": image, "features_4": cyan, "labels": image})
    np.testing.assert_allclose(made["score"], 1.0, atol=1e-6)


def test_what_a_stage_made_outlives_the_next_run(runner: Runner, image: np.ndarray) -> None:
    first = runner.run_stage("segmentation", {"image": image})["logits"]
    before = first.copy()
    runner.run_stage("segmentation", {"image": image[:, ::-1].copy()})
    np.testing.assert_array_equal(first, before)


def test_a_strided_tensor_is_taken_as_what_it_shows(runner: Runner, image: np.ndarray) -> None:
    flipped = image[:, ::-1]
    made = runner.run_stage("segmentation", {"image": flipped})["logits"]
    expected = runner.run_stage("segmentation", {"image": flipped.copy()})["logits"]
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "image for stage segmentation is missing; expected image uint8 .1, 64, 128, 3."),
        ({"image": np.zeros((1, 64, 128, 3), np.float32)}, "is float32 .1, 64, 128, 3.; expected"),
        ({"image": np.zeros((2, 64, 128, 3), np.uint8)}, "is uint8 .2, 64, 128, 3.; expected"),
    ],
)
def test_another_tensor_is_refused(
    runner: Runner, tensors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        runner.run_stage("segmentation", tensors)


def test_an_unknown_stage_is_refused_with_those_that_there_are(runner: Runner) -> None:
    with pytest.raises(BackendError, match="no stage depth; it has segmentation, observer"):
        runner.run_stage("depth", {})


def test_a_closed_runner_runs_no_stage(runner: Runner, image: np.ndarray) -> None:
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run_stage("segmentation", {"image": image})


class WholeRunsOnly(Runner):
    """A backend that has not got the capability."""

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        return RunResult({}, {})

    def warmup(self, runs: int = 2) -> float:
        return 0.0

    def describe(self) -> RunnerInfo:
        return RunnerInfo("whole", "cpu", "fp32", "1", 1, "")

    def close(self) -> None:
        pass


def test_a_backend_without_the_capability_says_so() -> None:
    runner = WholeRunsOnly()
    assert not runner.can_run_stages
    with pytest.raises(BackendError, match="backend whole cannot run stage observer alone"):
        runner.run_stage("observer", {})
