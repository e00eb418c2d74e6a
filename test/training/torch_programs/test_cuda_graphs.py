"""The order of work on a GPU: one graph per stage over tensors that stay where they are.

On a fake of torch.cuda: what it cannot show is whether a real GPU takes the captures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fake_torch_cuda as fake
import numpy as np
import pytest
import torch

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.backends.torch_backend import (
    SUFFIX,
    TorchRunner,
    open_program,
    program_key,
)
from anomaly_seg_ros.bundle import Bundle

GPU = torch.device("cuda", 0)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (3, 64, 128, 3), dtype=np.uint8)


@pytest.fixture
def programs(three_stages: Bundle, cache: EngineCache) -> dict[str, Any]:
    found = {}
    for stage in three_stages.stages:
        engine = cache.find(program_key(stage.files[0], "cpu"), suffix=SUFFIX)
        assert engine is not None
        found[stage.name] = open_program(engine.read(), torch.device("cpu"))
    return found


def load(bundle: Bundle, programs: dict[str, Any], graphs: bool = True) -> TorchRunner:
    return TorchRunner(bundle, programs, GPU, precision="fp32", threads=0, graphs=graphs)


@pytest.fixture
def runner(
    three_stages: Bundle, programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TorchRunner]:
    fake.install(monkeypatch)
    runner = load(three_stages, programs)
    yield runner
    runner.close()


def expected(bundle: Bundle, image: np.ndarray) -> dict[str, np.ndarray]:
    runner = load_runner(bundle, "onnxruntime", "cpu", threads=1)
    return runner.run(image, tuple(bundle.outputs())).arrays


def assert_right(bundle: Bundle, found: dict[str, np.ndarray], image: np.ndarray) -> None:
    right = expected(bundle, image)
    for name, array in found.items():
        np.testing.assert_allclose(array, right[name], atol=1e-5, err_msg=name)


def test_graphs_answer_for_the_image_of_each_run(
    runner: TorchRunner, three_stages: Bundle, images: np.ndarray
) -> None:
    for image in images:
        found = runner.run(image[None], tuple(three_stages.outputs())).arrays
        assert_right(three_stages, found, image[None])


def test_several_images_are_run_one_after_the_other(
    runner: TorchRunner, three_stages: Bundle, images: np.ndarray
) -> None:
    assert_right(three_stages, runner.run(images, ("labels", "score")).arrays, images)


def test_stages_are_left_out_and_taken_up_again(
    runner: TorchRunner, three_stages: Bundle, images: np.ndarray
) -> None:
    before = fake.Graph.replays
    first = runner.run(images[:1], ("labels",))
    assert fake.Graph.replays == before + 1
    assert_right(three_stages, first.arrays, images[:1])
    assert_right(three_stages, runner.run(images[1:2], ("score",)).arrays, images[1:2])
    assert_right(three_stages, runner.run(images[2:], ("synthesis",)).arrays, images[2:])


def test_seconds_tell_each_step_by_the_streams_own_clock(
    runner: TorchRunner, images: np.ndarray
) -> None:
    seconds = runner.run(images[:1], ("score", "labels")).seconds
    stages = ["segmentation", "resynthesis", "dissimilarity"]
    assert set(seconds) == {"upload", *stages, "download", "total"}
    assert 0 < sum(seconds[name] for name in stages) < seconds["total"]


def test_a_stage_alone_runs_on_given_tensors(
    runner: TorchRunner, three_stages: Bundle, images: np.ndarray
) -> None:
    right = expected(three_stages, images[:1])
    runner.run(images[1:2], ("score",))
    found = runner.run_stage("dissimilarity", {"image": images[:1], **right})
    assert_right(three_stages, found, images[:1])
    assert_right(three_stages, runner.run(images[2:], ("score",)).arrays, images[2:])


def test_results_outlive_the_next_run(runner: TorchRunner, images: np.ndarray) -> None:
    first = runner.run(images[:1], ("score",)).arrays["score"]
    before = first.copy()
    runner.run(images[1:2], ("score",))
    np.testing.assert_array_equal(first, before)


def test_without_graphs_stages_are_launched_step_by_step(
    three_stages: Bundle,
    programs: dict[str, Any],
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake.install(monkeypatch)
    runner = load(three_stages, programs, graphs=False)
    assert_right(three_stages, runner.run(images, ("labels", "score")).arrays, images)
    assert fake.Graph.replays == 0 and runner.describe().note == ""


def test_a_capture_that_fails_is_told_and_the_answers_stay_right(
    three_stages: Bundle,
    programs: dict[str, Any],
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake.install(monkeypatch)
    captures = []

    @contextmanager
    def second_fails(captured: fake.Graph, stream: fake.Stream) -> Iterator[None]:
        captures.append(captured)
        if len(captures) == 2:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        with fake.graph(captured, stream):
            yield

    monkeypatch.setattr(torch.cuda, "graph", second_fails)
    runner = load(three_stages, programs)
    note = runner.describe().note
    assert note.endswith("step by step: operation not permitted when stream is capturing")
    assert note in caplog.text and len(captures) == 2
    assert_right(three_stages, runner.run(images, ("labels", "score")).arrays, images)
    assert fake.Graph.replays == 1  # the one that was captured, when it was; none afterwards
