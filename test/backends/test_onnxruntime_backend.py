"""The ONNX Runtime backend on the CPU: results, lazy stages, checks and errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_bundle import (
    ANOMALY_COLOR,
    CLASS_COLORS,
    observer_graph,
    segmentation_graph,
    tiny_description,
)

from anomaly_seg_ros.backends import BACKENDS, Runner
from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeRunner
from anomaly_seg_ros.bundle import Bundle, TensorSpec, write_bundle
from anomaly_seg_ros.errors import BackendError

BACKEND = BACKENDS["onnxruntime"]


def picture(*colors: tuple[int, int, int]) -> np.ndarray:
    """uint8 [N, 64, 128, 3], each image of one colour."""
    return np.stack([np.full((64, 128, 3), color, np.uint8) for color in colors])


# --- results ---------------------------------------------------------------------------------


def test_each_class_colour_gets_its_label_and_no_score(runner: Runner) -> None:
    for number, color in enumerate(CLASS_COLORS):
        arrays = runner.run(picture(color), ["labels", "score"]).arrays
        assert (arrays["labels"] == number).all()
        assert arrays["score"].max() == 0.0


def test_the_unknown_colour_gets_the_full_score(runner: Runner) -> None:
    score = runner.run(picture(ANOMALY_COLOR), ["score"]).arrays["score"]
    assert score.dtype == np.float32 and score.shape == (1, 16, 32)
    np.testing.assert_allclose(score, 1.0, atol=1e-6)


def test_a_batch_gives_what_its_images_give_alone(runner: Runner) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 64, 128, 3), dtype=np.uint8)
    wanted = ["labels", "score", "logits"]
    together = runner.run(batch, wanted).arrays
    for index in range(3):
        alone = runner.run(batch[index : index + 1], wanted).arrays
        for name in wanted:
            np.testing.assert_array_equal(together[name][index], alone[name][0])


def test_the_same_image_gives_the_same_bits(bundle: Bundle) -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 128, 3), dtype=np.uint8)
    results = []
    for threads in (1, 2, 1):
        runner = BACKEND.load(bundle, threads=threads)
        results += [runner.run(image, ["logits", "score"]).arrays for _ in range(2)]
        runner.close()
    for result in results[1:]:
        np.testing.assert_array_equal(result["logits"], results[0]["logits"])
        np.testing.assert_array_equal(result["score"], results[0]["score"])


def test_results_outlive_the_next_run_and_the_runner(runner: Runner) -> None:
    first = runner.run(picture(CLASS_COLORS[0]), ["labels"]).arrays["labels"]
    runner.run(picture(CLASS_COLORS[13]), ["labels"])
    runner.close()
    assert (first == 0).all()


def test_only_wanted_tensors_come_back(runner: Runner) -> None:
    assert list(runner.run(picture((0, 0, 0)), ["score"]).arrays) == ["score"]
    assert runner.run(picture((0, 0, 0)), []).arrays == {}


# --- lazy stages -----------------------------------------------------------------------------


def test_stages_that_nothing_wanted_needs_do_not_run(runner: Runner) -> None:
    image = picture((0, 0, 0))
    assert list(runner.run(image, ["labels"]).seconds) == ["segmentation", "total"]
    assert list(runner.run(image, ["score"]).seconds) == ["segmentation", "observer", "total"]
    assert list(runner.run(image, []).seconds) == ["total"]


def test_of_three_stages_only_those_run_that_something_wanted_needs(three_stages: Bundle) -> None:
    runner = BACKEND.load(three_stages, threads=1)
    ran: list[str] = []
    for name, session in runner.sessions.items():
        runner.sessions[name] = Recorded(name, session, ran)
    expected = {
        ("labels",): ["segmentation"],
        ("synthesis",): ["segmentation", "resynthesis"],
        ("labels", "synthesis"): ["segmentation", "resynthesis"],
        ("score",): ["segmentation", "resynthesis", "dissimilarity"],
        (): [],
    }
    for wanted, stages in expected.items():
        ran.clear()
        result = runner.run(picture((0, 0, 0)), wanted)
        assert ran == stages and list(result.seconds) == [*stages, "total"]
        assert set(result.arrays) == set(wanted)


class Recorded:
    """A session that notes when it runs."""

    def __init__(self, name: str, session: onnxruntime.InferenceSession, ran: list[str]) -> None:
        self.name, self.session, self.ran = name, session, ran

    def run_with_iobinding(self, binding: object) -> None:
        self.ran.append(self.name)
        self.session.run_with_iobinding(binding)

    def io_binding(self) -> object:
        return self.session.io_binding()


def test_tensors_reach_later_stages_as_they_were_made(three_stages: Bundle) -> None:
    runner = BACKEND.load(three_stages, threads=1)
    image = picture(CLASS_COLORS[13])
    image[:, :, 64:] = ANOMALY_COLOR
    arrays = runner.run(image, ["synthesis", "perceptual_difference", "score"]).arrays
    car, sky = (np.float32(CLASS_COLORS[i]) / 255 for i in (13, 10))
    assert arrays["synthesis"].shape == (1, 3, 32, 64)
    np.testing.assert_array_equal(arrays["synthesis"][0, :, 0, [0, 63]], [car, sky])
    distance = np.linalg.norm(sky - np.float32(ANOMALY_COLOR) / 255)
    np.testing.assert_allclose(arrays["perceptual_difference"][0, :, 16:], distance, rtol=1e-5)
    assert (arrays["score"][0, :, 16:] == 1).all()
    np.testing.assert_allclose(arrays["score"][0, :, :16], 0, atol=1e-5)


def test_seconds_of_the_stages_add_up_to_less_than_the_total(runner: Runner) -> None:
    seconds = runner.run(picture((0, 0, 0), (9, 9, 9)), ["score"]).seconds
    assert 0 < seconds["segmentation"] + seconds["observer"] < seconds["total"]


# --- what it says of itself ------------------------------------------------------------------


def test_it_describes_device_precision_threads_and_version(runner: Runner) -> None:
    info = runner.describe()
    assert (info.backend, info.device, info.precision) == ("onnxruntime", "cpu", "fp32")
    assert (info.threads, info.version, info.note) == (1, onnxruntime.__version__, "")


def test_threads_reach_the_sessions_and_spinning_is_off(bundle: Bundle) -> None:
    runner = BACKEND.load(bundle, threads=3)
    assert isinstance(runner, OnnxRuntimeRunner)
    for session in runner.sessions.values():
        options = session.get_session_options()
        assert options.intra_op_num_threads == 3
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_threads_default_to_the_usable_cores_but_four(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, expected in ((2, 2), (64, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, n=cores: set(range(n)))
        assert BACKEND.load(bundle).describe().threads == expected


def test_warmup_runs_every_stage(runner: Runner) -> None:
    assert runner.warmup(1) > 0


# --- wrong calls -----------------------------------------------------------------------------

WRONG_IMAGES = {
    "float": (np.zeros((1, 64, 128, 3), np.float32), r"image is float32 \[1, 64, 128, 3\]"),
    "size": (np.zeros((1, 64, 64, 3), np.uint8), r"expected uint8 \[N, 64, 128, 3\]"),
    "no batch": (np.zeros((64, 128, 3), np.uint8), r"image is uint8 \[64, 128, 3\]"),
    "none": (np.zeros((0, 64, 128, 3), np.uint8), r"image is uint8 \[0, 64, 128, 3\]"),
    "list": ([[0]], "image is list"),
    "strided": (np.zeros((1, 64, 256, 3), np.uint8)[:, :, ::2], "expected C-contiguous memory"),
    "fortran": (np.asfortranarray(np.zeros((1, 64, 128, 3), np.uint8)), "C-contiguous"),
}


@pytest.mark.parametrize("image, expected", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_a_wrong_image_is_one_clear_error(runner: Runner, image: object, expected: str) -> None:
    with pytest.raises(BackendError, match=expected):
        runner.run(image, ["score"])  # type: ignore[arg-type]


def test_an_unknown_tensor_lists_what_there_is(runner: Runner) -> None:
    with pytest.raises(BackendError, match="makes no depth; it makes logits, labels, features_4"):
        runner.run(picture((0, 0, 0)), ["depth"])


def test_a_closed_runner_says_so(runner: Runner) -> None:
    runner.close()
    runner.close()
    with pytest.raises(BackendError, match="this runner is closed"):
        runner.run(picture((0, 0, 0)), ["score"])


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_a_wrong_thread_count_is_refused(bundle: Bundle, threads: int) -> None:
    with pytest.raises(BackendError, match="expected a whole number of 1 or more"):
        BACKEND.load(bundle, threads=threads)


def test_an_unknown_device_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match=r"device 'tpu' is unknown.*expected cpu, cuda"):
        BACKEND.load(bundle, device="tpu")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this onnxruntime has the CUDA provider",
)
def test_a_named_gpu_that_is_not_there_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match=r"cannot use device cuda:1.*no CUDAExecutionProvider"):
        BACKEND.load(bundle, device="cuda:1")


# --- precisions and targets ------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Bundle:
    """int8 for ONNX Runtime's CPU, fp16 for TensorRT alone; the int8 graph labels are all 0."""
    black = segmentation_graph(64, 128)
    bias = next(t for t in black.graph.initializer if t.name == "bias")
    values = np.full(19, -1e6, np.float32)
    values[0] = 0
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))
    graphs = {"a": segmentation_graph(64, 128), "b": observer_graph(64, 128), "c": black}
    for name, model in graphs.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
    a, b, c = (tmp_path / f"{name}.onnx" for name in graphs)
    return write_bundle(
        tmp_path / "mixed",
        description=tiny_description(),
        stage_files={
            "segmentation": {"fp32": a, "int8": a, "int8@onnxruntime-cpu": c, "fp16@tensorrt": a},
            "observer": {"fp32": b, "int8": b, "fp16@tensorrt": b},
        },
    )


def test_the_graph_made_for_this_backend_comes_before_the_one_for_any(mixed: Bundle) -> None:
    image = picture(CLASS_COLORS[13])
    fp32 = BACKEND.load(mixed).run(image, ["labels"]).arrays["labels"]
    int8 = BACKEND.load(mixed, precision="int8").run(image, ["labels"]).arrays["labels"]
    assert (fp32 == 13).all() and (int8 == 0).all()


def test_a_precision_that_is_not_there_lists_what_is(mixed: Bundle, bundle: Bundle) -> None:
    with pytest.raises(
        BackendError,
        match="stage segmentation has no fp16 graph that onnxruntime-cpu can run; it has fp32 for "
        "any, int8 for any, int8 for onnxruntime-cpu, fp16 for tensorrt",
    ):
        BACKEND.load(mixed, precision="fp16")
    with pytest.raises(BackendError, match=r"has no int8 graph.*it has fp32 for any"):
        BACKEND.load(bundle, precision="int8")


# --- graphs that do not fit ------------------------------------------------------------------


def test_graphs_that_differ_from_the_bundle_are_listed_with_both_sides(bundle: Bundle) -> None:
    first, second = bundle.stages
    wrong = dataclasses.replace(
        bundle,
        stages=(
            dataclasses.replace(
                first,
                outputs=(*first.outputs[:2], TensorSpec("features_4", "float32", (1, 8, 16, 32))),
            ),
            dataclasses.replace(second, outputs=(TensorSpec("score", "uint8", (1, 16, 32)),)),
        ),
    )
    with pytest.raises(BackendError) as caught:
        BACKEND.load(wrong)
    message = str(caught.value)
    assert "found features_4 float32 [1, 3, 16, 32], expected features_4 float32 [1, 8," in message
    assert "found score float32 [1, 16, 32], expected score uint8 [1, 16, 32]" in message
    assert "stage observer (observer.onnx): inputs of the graph" in message


def test_a_graph_the_runtime_cannot_load_is_one_clear_error(bundle: Bundle, tmp_path: Path) -> None:
    model = segmentation_graph(64, 128)
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "broken.onnx").write_bytes(model.SerializeToString())
    stage = bundle.stages[0]
    file = dataclasses.replace(stage.files[0], path=tmp_path / "broken.onnx")
    broken = dataclasses.replace(
        bundle, stages=(dataclasses.replace(stage, files=(file,)), bundle.stages[1])
    )
    with pytest.raises(BackendError, match=r"cannot load stage segmentation \(broken\.onnx\)"):
        BACKEND.load(broken)
