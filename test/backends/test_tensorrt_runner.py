"""Running engines on a fake TensorRT and a fake GPU: results, memory, CUDA graphs, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import NEW, OLD, FakeTensorRT, install
from low_precision import with_dynamic_batch
from tiny_bundle import ANOMALY_COLOR, CLASS_COLORS

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.backends.tensorrt_backend import TensorRTBackend
from anomaly_seg_ros.backends.tensorrt_build import EngineOptions
from anomaly_seg_ros.backends.tensorrt_runner import MAX_GRAPHS, TensorRTRunner
from anomaly_seg_ros.bundle import Bundle, shipped_bundles
from anomaly_seg_ros.errors import BackendError

BACKEND = TensorRTBackend()
ALL = ["logits", "labels", "features_4", "score"]


def load(
    bundle: Bundle, backend: TensorRTBackend = BACKEND, device: str = "cuda"
) -> TensorRTRunner:
    backend.prepare(bundle, device)
    runner = backend.load(bundle, device)
    assert isinstance(runner, TensorRTRunner)
    return runner


@pytest.fixture
def gpu(bundle: Bundle, trt: FakeTensorRT) -> Iterator[TensorRTRunner]:
    runner = load(bundle)
    trt._cuda.counts.clear()
    yield runner
    runner.close()


def noise(bundle: Bundle, count: int, seed: int = 0) -> np.ndarray:
    spec = bundle.input
    shape = (count, spec.height, spec.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(*colors: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((64, 128, 3), color, np.uint8) for color in colors])


# --- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("name", ["bundle", "three_stages", *shipped_bundles()])
def test_every_bundle_gives_what_onnx_runtime_gives(
    name: str, version: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Bundle.open(name) if name in shipped_bundles() else request.getfixturevalue(name)
    install(monkeypatch, version)
    wanted = list(opened.outputs())
    reference = load_runner(opened, "onnxruntime", threads=1)
    with_engines = load(opened)
    for seed in range(2):  # the first image is queued stage by stage, the others are graphs
        image = noise(opened, 2, seed)
        expected, found = reference.run(image, wanted), with_engines.run(image, wanted)
        assert list(found.arrays) == wanted
        for tensor in wanted:
            assert found.arrays[tensor].dtype == expected.arrays[tensor].dtype
            np.testing.assert_array_equal(found.arrays[tensor], expected.arrays[tensor])
    with_engines.close()
    reference.close()


def test_each_image_has_its_own_result(gpu: TensorRTRunner) -> None:
    for number in range(len(CLASS_COLORS)):
        arrays = gpu.run(picture(CLASS_COLORS[number], ANOMALY_COLOR), ["labels", "score"]).arrays
        assert (arrays["labels"][0] == number).all() and (arrays["score"][0] == 0).all()
        np.testing.assert_allclose(arrays["score"][1], 1.0, atol=1e-6)


def test_results_outlive_the_next_run_and_the_runner(gpu: TensorRTRunner) -> None:
    first = gpu.run(picture(CLASS_COLORS[0]), ["labels"]).arrays["labels"]
    gpu.run(picture(CLASS_COLORS[13]), ["labels"])
    gpu.close()
    assert (first == 0).all()


def test_one_stage_alone_gives_what_the_run_gives(gpu: TensorRTRunner, bundle: Bundle) -> None:
    image = noise(bundle, 1)
    whole = gpu.run(image, ALL).arrays
    assert gpu.can_run_stages
    for stage in bundle.stages:
        made = gpu.run_stage(stage.name, {"image": image, **whole})
        assert list(made) == [spec.name for spec in stage.outputs]
        for name, array in made.items():
            np.testing.assert_array_equal(array, whole[name])
    with pytest.raises(BackendError, match="features_4 for stage observer is missing"):
        gpu.run_stage("observer", {"image": image})


# --- what moves, and when --------------------------------------------------------------------


def test_only_the_image_goes_up_and_only_wanted_tensors_come_down(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    counts = trt._cuda.counts
    for _ in range(2):  # queued, then as a graph
        counts["bytes up"] = counts["bytes down"] = 0
        gpu.run(picture((0, 0, 0)), ["labels"])
        assert (counts["bytes up"], counts["bytes down"]) == (64 * 128 * 3, 16 * 32)
    assert "allocate device" not in counts


def test_stages_that_nothing_wanted_needs_do_not_run(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    counts = trt._cuda.counts
    for wanted, stages in ((["labels"], 1), (["score"], 2), (["labels", "score"], 2), ([], 0)):
        for _ in range(3):
            counts["stages run"] = 0
            assert list(gpu.run(picture((0, 0, 0)), wanted).arrays) == wanted
            assert counts["stages run"] == stages


def test_memory_is_allocated_once_and_all_of_it_freed(bundle: Bundle, trt: FakeTensorRT) -> None:
    runner = load(bundle)
    runner.warmup()
    counts = dict(trt._cuda.counts)
    for wanted in (["score"], ["labels", "logits"], ALL):
        runner.run(picture((0, 0, 0)), wanted)
    assert trt._cuda.counts["allocate device"] == counts["allocate device"] == 5
    assert trt._cuda.counts["allocate host"] == counts["allocate host"] == 5
    runner.close()
    runner.close()
    assert not any(trt._cuda.live().values())
    with pytest.raises(BackendError, match="this runner is closed"):
        runner.run(picture((0, 0, 0)), ["score"])


def test_another_thread_may_run_and_close_it_on_another_gpu(
    bundle: Bundle, trt: FakeTensorRT
) -> None:
    """configure loads in one thread, the worker runs in another: a device belongs to a thread."""
    runner = load(bundle, device="cuda:1")
    scores: list[np.ndarray] = []

    def work() -> None:
        for _ in range(2):
            scores.append(runner.run(picture(ANOMALY_COLOR), ["score"]).arrays["score"])
        runner.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(scores) == 2 and all((score > 0.99).all() for score in scores)
    assert runner.describe().device == "cuda:1"


# --- CUDA graphs -----------------------------------------------------------------------------


def counted(trt: FakeTensorRT) -> tuple[int, int]:
    """Graphs captured and launched so far."""
    return trt._cuda.counts.get("captures", 0), trt._cuda.counts.get("launches", 0)


def test_the_first_run_is_captured_and_the_others_are_launches(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    for runs in range(4):
        gpu.run(picture((0, 0, 0)), ["score", "labels"])
        assert counted(trt) == (1, runs)
    gpu.run(picture((0, 0, 0)), ["labels", "score"])  # the same set
    assert counted(trt) == (1, 4)


def test_each_set_of_wanted_tensors_has_its_graph(gpu: TensorRTRunner, trt: FakeTensorRT) -> None:
    sets = [["score"], ["labels"], ["score", "labels"]]
    for _ in range(2):
        for wanted in sets:
            gpu.run(picture((0, 0, 0)), wanted)
    assert counted(trt) == (3, 3)


def test_graphs_are_limited_in_number(gpu: TensorRTRunner, trt: FakeTensorRT) -> None:
    sets = [[name for bit, name in enumerate(ALL) if number >> bit & 1] for number in range(1, 16)]
    for wanted in sets:
        gpu.run(picture((0, 0, 0)), wanted)
    assert trt._cuda.counts["captures"] == 15 and len(trt._cuda.graphs) == MAX_GRAPHS


def test_memory_that_moved_is_captured_again(gpu: TensorRTRunner, trt: FakeTensorRT) -> None:
    image = noise(gpu.bundle, 1)
    expected = gpu.run(image, ["score"]).arrays["score"]
    new = gpu._stream.device_buffer(3 * 16 * 32 * 4)
    gpu._device["features_4"] = new
    for engine in gpu._engines.values():
        engine.place("features_4", new)
    for _ in range(2):
        np.testing.assert_array_equal(gpu.run(image, ["score"]).arrays["score"], expected)
    assert counted(trt) == (2, 1) and len(trt._cuda.graphs) == 1


def test_a_batch_that_changes_is_captured_again(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    dynamic = with_dynamic_batch(bundle, tmp_path)
    runner = load(dynamic, TensorRTBackend(EngineOptions(max_batch=3)))
    reference = load_runner(bundle, "onnxruntime", threads=1)
    for count, graphs in ((3, (1, 0)), (3, (1, 1)), (2, (2, 1)), (2, (2, 2)), (3, (3, 2))):
        image = noise(bundle, count)
        found = runner.run(image, ALL).arrays
        for name, expected in reference.run(image, ALL).arrays.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)
        assert counted(trt) == graphs
    runs = trt._cuda.counts["stages run"]
    assert runner.run(noise(bundle, 7), ["score"]).arrays["score"].shape == (7, 16, 32)
    assert trt._cuda.counts["stages run"] == runs + 3 * 2  # 3 + 3 + 1 images, two stages each
    runner.close()


def test_a_dynamic_engine_for_one_image_runs_image_by_image(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    runner = load(with_dynamic_batch(bundle, tmp_path))
    assert runner.run(noise(bundle, 3), ["score"]).arrays["score"].shape == (3, 16, 32)
    assert trt._cuda.counts["stages run"] == 6
    runner.close()


def test_a_static_engine_runs_a_batch_image_by_image(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    gpu.run(picture(*CLASS_COLORS[:5]), ["score"])
    assert trt._cuda.counts["stages run"] == 10 and counted(trt) == (1, 4)


@pytest.mark.parametrize("fault", ["capture", "instantiate", "execute_captured"])
def test_where_capturing_fails_stages_are_launched_and_the_note_says_so(
    bundle: Bundle, trt: FakeTensorRT, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    runner = load(bundle)
    assert runner.describe().note == ""
    trt._faults.add(fault)
    for number in (3, 4, 5):
        labels = runner.run(picture(CLASS_COLORS[number]), ["labels"]).arrays["labels"]
        assert (labels == number).all()
    runner.run(picture((0, 0, 0)), ["score"])
    assert counted(trt) == (0, 0)
    note = runner.describe().note
    assert note.startswith("no CUDA graph, stages are launched one by one: ")
    assert caplog.text.count("no CUDA graph") == 1
    runner.note = "auto: tensorrt"
    assert runner.describe().note == f"auto: tensorrt; {note}"
    runner.close()
    assert not any(trt._cuda.live().values())


# --- profiling -------------------------------------------------------------------------------


def test_a_graph_tells_the_total_alone_and_profiling_every_step(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    image = picture((0, 0, 0), (9, 9, 9))
    assert list(gpu.run(image, ["score"]).seconds) == ["total"]
    launches = trt._cuda.counts["launches"]
    gpu.profiling = True
    seconds = gpu.run(image, ["score"]).seconds
    assert list(seconds) == ["upload", "segmentation", "observer", "download", "total"]
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) - seconds["total"] < seconds["total"]
    assert list(gpu.run(image, ["labels"]).seconds) == [
        "upload",
        "segmentation",
        "download",
        "total",
    ]
    assert trt._cuda.counts["launches"] == launches
    gpu.profiling = False
    assert list(gpu.run(image, ["score"]).seconds) == ["total"]


# --- failures --------------------------------------------------------------------------------


def test_a_run_that_fails_says_what_tensorrt_says_and_the_next_may_succeed(
    gpu: TensorRTRunner, trt: FakeTensorRT
) -> None:
    trt._faults.add("execute")
    with pytest.raises(BackendError, match="stage segmentation: TensorRT could not run it") as e:
        gpu.run(picture((0, 0, 0)), ["score"])
    assert "| Error Code 1: Cuda Runtime" in str(e.value)
    trt._faults.clear()
    assert (gpu.run(picture(ANOMALY_COLOR), ["score"]).arrays["score"] > 0.99).all()


LOAD_FAILURES = {
    "deserialize": "TensorRT rejects the engine: build it anew; TensorRT said:\n  .*Code 1",
    "context": "made no execution context: it needs 8 MB of GPU memory",
    "address": "does not take the memory for image: .*\n.*invalid address",
    "memory": r"CUDA failed in cudaMalloc: cudaErrorMemoryAllocation .*memory is full: end what",
}


@pytest.mark.parametrize("fault", LOAD_FAILURES)
def test_each_failure_of_loading_says_what_failed_and_frees_everything(
    bundle: Bundle, trt: FakeTensorRT, fault: str
) -> None:
    BACKEND.prepare(bundle)
    trt._faults.add(fault)
    with pytest.raises(BackendError, match=LOAD_FAILURES[fault]):
        BACKEND.load(bundle)
    assert not any(trt._cuda.live().values())


def test_a_batch_that_is_refused_is_named(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    runner = load(with_dynamic_batch(bundle, tmp_path), TensorRTBackend(EngineOptions(max_batch=2)))
    trt._faults.add("shape")
    with pytest.raises(BackendError, match=r"refuses image with a batch of 2: .*built for 1 to 2"):
        runner.run(noise(bundle, 2), ["score"])
    runner.close()


def test_wrong_calls_are_the_same_errors_as_on_other_backends(gpu: TensorRTRunner) -> None:
    with pytest.raises(BackendError, match="makes no depth; it makes logits"):
        gpu.run(picture((0, 0, 0)), ["depth"])
    with pytest.raises(BackendError, match=r"image is uint8 \[1, 64, 64, 3\]"):
        gpu.run(np.zeros((1, 64, 64, 3), np.uint8), ["score"])


def test_it_describes_gpu_precision_and_version(bundle: Bundle, gpu: TensorRTRunner) -> None:
    info = gpu.describe()
    assert (info.backend, info.device, info.precision) == ("tensorrt", "cuda:0", "fp32")
    assert (info.version, info.threads, info.note) == (OLD, 0, "")
