"""The torch backend on the CPU: the same answers as ONNX Runtime, and clear refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.backends.torch_backend import SUFFIX, TorchBackend, program_key
from anomaly_seg_ros.bundle import Bundle, StageFile, TensorSpec
from anomaly_seg_ros.errors import BackendError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 64, 128, 3), dtype=np.uint8)


@pytest.fixture
def runner(backend: TorchBackend, tiny: Bundle) -> Iterator[Runner]:
    runner = backend.load(tiny, "cpu", threads=1)
    yield runner
    runner.close()


@pytest.mark.parametrize("name", ["tiny", "three_stages"])
def test_all_tensors_are_those_of_onnx_runtime(
    backend: TorchBackend, images: np.ndarray, name: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    wanted = tuple(bundle.outputs())
    expected = load_runner(bundle, "onnxruntime", "cpu", threads=1).run(images, wanted).arrays
    found = backend.load(bundle, "cpu", threads=1).run(images, wanted).arrays
    assert list(found) == list(wanted)
    for tensor, array in expected.items():
        assert found[tensor].dtype == array.dtype and found[tensor].flags.c_contiguous
        np.testing.assert_allclose(found[tensor], array, atol=1e-5, err_msg=tensor)


def test_only_the_stages_that_somebody_needs_run(runner: Runner, images: np.ndarray) -> None:
    result = runner.run(images[:1], ("labels",))
    assert list(result.arrays) == ["labels"] and set(result.seconds) == {"segmentation", "total"}
    both = runner.run(images[:1], ("score", "labels"))
    assert set(both.seconds) == {"segmentation", "observer", "total"}
    assert sum(both.seconds[name] for name in ("segmentation", "observer")) <= both.seconds["total"]


def test_results_are_the_callers_own(runner: Runner, images: np.ndarray) -> None:
    first = runner.run(images[:1], ("features_4",)).arrays["features_4"]
    before = first.copy()
    runner.run(images[1:2], ("features_4",))
    np.testing.assert_array_equal(first, before)
    first[:] = 0  # and can be written


def test_a_stage_alone_computes_what_the_whole_run_computes(
    backend: TorchBackend, three_stages: Bundle, images: np.ndarray
) -> None:
    runner = backend.load(three_stages, "cpu", threads=1)
    assert runner.can_run_stages
    tensors: dict[str, np.ndarray] = {"image": images[:1]}
    for stage in three_stages.stages:
        tensors.update(runner.run_stage(stage.name, tensors))
    for name, array in runner.run(images[:1], tuple(three_stages.outputs())).arrays.items():
        np.testing.assert_array_equal(tensors[name], array)


def test_it_says_what_runs(runner: Runner) -> None:
    told = runner.describe()
    assert (told.backend, told.device, told.precision, told.threads) == ("torch", "cpu", "fp32", 1)
    assert told.version == torch.__version__ and runner.warmup() > 0


def test_a_closed_runner_refuses(runner: Runner, images: np.ndarray) -> None:
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run(images, ("labels",))


def test_a_missing_program_is_refused_with_the_command_that_makes_it(
    tiny: Bundle, tmp_path: Path
) -> None:
    empty = TorchBackend(lambda: EngineCache(tmp_path / "empty"))
    with pytest.raises(BackendError, match="of stage segmentation, observer") as caught:
        empty.load(tiny, "cpu")
    mend = f"python -m training torch-program {tiny.folder} --precision fp32 --device cpu"
    assert mend in str(caught.value) and str(tmp_path / "empty") in str(caught.value)


def test_a_changed_graph_needs_a_program_of_its_own(backend: TorchBackend, tiny: Bundle) -> None:
    stage = tiny.stages[1]
    changed = dataclasses.replace(stage.files[0], sha256="0" * 64)
    other = dataclasses.replace(
        tiny, stages=(tiny.stages[0], dataclasses.replace(stage, files=(changed,)))
    )
    with pytest.raises(BackendError, match=r"no fp32 program .* of stage observer in"):
        backend.load(other, "cpu")


def test_the_key_holds_graph_side_files_precision_device_and_version() -> None:
    file = StageFile("fp32", "any", Path("graph.onnx"), "a" * 64, {})
    key = program_key(file, "cuda")
    assert key["graph"] == ["a" * 64] and key["torch"] == torch.__version__
    others = [program_key(dataclasses.replace(file, precision="fp16"), "cuda")]
    others.append(program_key(file, "cpu"))
    others.append(program_key(dataclasses.replace(file, external=(file,)), "cuda"))  # type: ignore[arg-type]
    assert all(other != key for other in others)


def test_a_damaged_program_is_not_opened(tiny: Bundle, tmp_path: Path, cache: EngineCache) -> None:
    copy = EngineCache(tmp_path / "copy")
    copy.folder.mkdir()
    for file in cache.folder.glob("*.*"):
        (copy.folder / file.name).write_bytes(file.read_bytes())
    found = copy.find(program_key(tiny.stages[0].files[0], "cpu"), suffix=SUFFIX)
    assert found is not None
    found.path.write_bytes(found.path.read_bytes()[:-1])
    with pytest.raises(BackendError, match=r"no fp32 program .* of stage segmentation in"):
        TorchBackend(lambda: copy).load(tiny, "cpu")


def test_bytes_that_are_no_program_are_rejected_and_moved_aside(
    tiny: Bundle, tmp_path: Path
) -> None:
    cache = EngineCache(tmp_path / "engines")
    for stage in tiny.stages:
        cache.plan(program_key(stage.files[0], "cpu"), lambda: b"no program", suffix=SUFFIX)
    backend = TorchBackend(lambda: cache)
    with pytest.raises(BackendError, match=r"cannot open the program .*: make it anew: python -m"):
        backend.load(tiny, "cpu")
    assert cache.find(program_key(tiny.stages[0].files[0], "cpu"), suffix=SUFFIX) is None


def test_a_program_of_other_tensors_is_refused_with_both_sides(
    backend: TorchBackend, tiny: Bundle
) -> None:
    first, second = tiny.stages
    wrong = dataclasses.replace(
        tiny,
        stages=(
            first,
            dataclasses.replace(second, outputs=(TensorSpec("score", "uint8", (1, 16, 32)),)),
        ),
    )
    with pytest.raises(BackendError, match=r"gives float32 \[1, 16, 32\]; expected score uint8"):
        backend.load(wrong, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", [None, "cuda", "cuda:1"])
def test_without_a_gpu_it_says_so_and_runs_nothing_else(
    backend: TorchBackend, tiny: Bundle, device: str | None
) -> None:
    with pytest.raises(BackendError, match=r"cannot use device cuda:[01]: .*ask for device cpu"):
        backend.load(tiny, device)


def test_an_unknown_device_and_precision_are_refused(backend: TorchBackend, tiny: Bundle) -> None:
    with pytest.raises(BackendError, match="device 'tpu' is unknown to backend torch"):
        backend.load(tiny, "tpu")
    with pytest.raises(BackendError, match="no precision 'int8'; expected fp32 or fp16"):
        backend.load(tiny, "cpu", "int8")
    with pytest.raises(BackendError, match="stage segmentation has no fp16 graph"):
        backend.load(tiny, "cpu", "fp16")


def test_a_machine_without_torch_is_told_what_to_install(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'anomaly_seg_ros[torch]'" in str(TorchBackend().unavailable_reason())
    with pytest.raises(BackendError, match="backend torch cannot run: torch is not installed"):
        TorchBackend().load(tiny, "cpu")
