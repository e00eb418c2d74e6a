"""Picking a backend: auto says why, a named one is never replaced."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import onnxruntime
import pytest
from fake_tensorrt import FakeTensorRT, install
from low_precision import precisions_bundle

from anomaly_seg_ros.backends import (
    BACKENDS,
    BuildCancelled,
    BuildWatch,
    load_runner,
    prepare_engines,
)
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BackendError

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has the CUDA provider")
def test_auto_takes_the_cpu_and_says_why(bundle: Bundle) -> None:
    info = load_runner(bundle).describe()
    assert (info.backend, info.device) == ("onnxruntime", "cpu")
    assert info.note.startswith("auto: CPU, because this onnxruntime")
    assert "no CUDAExecutionProvider" in info.note


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has the CUDA provider")
def test_auto_with_a_named_device_never_takes_another(bundle: Bundle) -> None:
    assert load_runner(bundle, device="cpu").describe().note == "auto: device cpu was named"
    with pytest.raises(BackendError, match="cannot use device cuda"):
        load_runner(bundle, device="cuda")


def test_auto_falls_back_to_the_cpu_when_the_gpu_does_not_start(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The provider is listed but this machine has no GPU: what onnxruntime-gpu does without driver.
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    info = load_runner(bundle).describe()
    assert info.device == "cpu"
    assert "could not start CUDAExecutionProvider" in info.note
    with pytest.raises(BackendError, match="could not start CUDAExecutionProvider"):
        load_runner(bundle, "onnxruntime", device="cuda")


@pytest.mark.parametrize("name", ["abacus", "ONNXRuntime", ""])
def test_an_unknown_backend_lists_those_that_exist(bundle: Bundle, name: str) -> None:
    for use in (load_runner, prepare_engines):
        with pytest.raises(BackendError, match=f"unknown backend '{name}'; there are auto, ") as e:
            use(bundle, name)
        assert "tensorrt" in str(e.value) and "onnxruntime" in str(e.value)


def test_without_onnxruntime_the_error_says_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    assert "pip install" in (BACKENDS["onnxruntime"].unavailable_reason() or "")
    for backend in ("auto", "onnxruntime"):
        with pytest.raises(BackendError, match=r"pip install 'anomaly_seg_ros\[onnx\]'"):
            load_runner(bundle, backend)


def test_precision_and_threads_reach_the_runner(bundle: Bundle) -> None:
    assert load_runner(bundle, threads=2).describe().threads == 2
    with pytest.raises(BackendError, match="no int8 graph"):
        load_runner(bundle, precision="int8")


# --- TensorRT --------------------------------------------------------------------------------


def test_auto_takes_tensorrt_once_its_engines_are_there(
    bundle: Bundle, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    note = load_runner(bundle).describe().note
    assert note.startswith("auto: CPU, because ") and "; not tensorrt: no fp32 engine" in note
    assert f"anomaly-seg engine build {bundle.folder}" in note
    prepare_engines(bundle)
    runner = load_runner(bundle)
    info = runner.describe()
    assert (info.backend, info.device) == ("tensorrt", "cuda:0")
    assert info.note == "auto: tensorrt, as its engines are there"
    assert {info.note, note} <= {record.getMessage() for record in caplog.records}
    runner.close()


def test_auto_never_leaves_a_device_that_was_named(bundle: Bundle, trt: FakeTensorRT) -> None:
    prepare_engines(bundle, device="cpu")
    assert trt._builds == []
    prepare_engines(bundle, device="cuda:1")
    runner = load_runner(bundle, device="cuda:1")
    assert runner.describe().device == "cuda:1"
    runner.close()
    assert load_runner(bundle, device="cpu").describe().note == "auto: device cpu was named"


def test_loading_builds_nothing(bundle: Bundle, trt: FakeTensorRT, engines: Path) -> None:
    load_runner(bundle).close()
    with pytest.raises(BackendError, match=r"of stage segmentation, observer in .* build it once"):
        load_runner(bundle, "tensorrt")
    assert trt._builds == [] and not engines.exists()


def test_auto_goes_on_without_engines_that_cannot_be_built(
    bundle: Bundle, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt._faults.add("build")
    prepare_engines(bundle)
    assert "auto: no engines of tensorrt: stage segmentation: TensorRT" in caplog.text
    assert load_runner(bundle).describe().backend == "onnxruntime"
    with pytest.raises(BackendError, match="cannot build an engine"):
        prepare_engines(bundle, "tensorrt")


def test_auto_goes_on_without_engines_that_cannot_be_loaded(
    bundle: Bundle, trt: FakeTensorRT
) -> None:
    prepare_engines(bundle)
    trt._faults.add("context")
    note = load_runner(bundle).describe().note
    assert "not tensorrt: stage segmentation: TensorRT made no execution context" in note
    assert "\n" not in note


def test_a_cancelled_build_is_not_replaced_by_another_backend(
    bundle: Bundle, trt: FakeTensorRT
) -> None:
    with pytest.raises(BuildCancelled):
        prepare_engines(bundle, watch=BuildWatch(cancelled=lambda: True))


def test_auto_does_not_replace_a_precision_that_only_tensorrt_has(
    trt: FakeTensorRT, bundle: Bundle, tmp_path: Path
) -> None:
    low = precisions_bundle(tmp_path / "low")
    prepare_engines(low, precision="fp16")
    runner = load_runner(low, precision="fp16")
    assert runner.describe().backend == "tensorrt"
    runner.close()
    with pytest.raises(BackendError, match="no int8 graph that onnxruntime-cpu can run"):
        load_runner(low, precision="int8")  # its engines are not built, ONNX Runtime has no graph


def test_backends_that_build_nothing_are_prepared_at_once(bundle: Bundle) -> None:
    prepare_engines(bundle, "onnxruntime")


ABSENT = {
    "not installed": "TensorRT is not installed: pip install 'anomaly_seg_ros\\[tensorrt\\]'",
    "broken": r"cannot be loaded \(libnvinfer.so.10: cannot open",
    "old": "TensorRT 8.6.1 is installed; expected 10.3 or newer, below 12",
    "10.2": "TensorRT 10.2.0 is installed; expected 10.3",
    "new": "TensorRT 12.0.0 is installed; expected 10.3 or newer, below 12",
    "no_gpu": "no NVIDIA GPU can be used here",
    "driver": "no NVIDIA GPU can be used here .the driver is missing or too old",
    "no cuda-python": "cuda-python cannot be loaded .*: pip install 'cuda-python>=12.6.1'",
}


@pytest.mark.parametrize("case", ABSENT)
def test_where_tensorrt_cannot_run_the_reason_and_the_mend_are_told(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, case: str, tmp_path: Path
) -> None:
    versions = {"old": "8.6.1", "10.2": "10.2.0", "new": "12.0.0"}
    install(monkeypatch, versions.get(case, "10.3.0.26"), {case})
    if case == "not installed":
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    if case == "no cuda-python":
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    if case == "broken":
        monkeypatch.delitem(sys.modules, "tensorrt")
        text = 'raise ImportError("libnvinfer.so.10: cannot open shared object file")'
        (tmp_path / "tensorrt.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendError, match=f"backend tensorrt cannot run: .*{ABSENT[case]}"):
        load_runner(bundle, "tensorrt")
    assert BACKENDS["tensorrt"].unavailable_reason() is not None
    note = load_runner(bundle).describe().note
    assert note.startswith("auto: CPU, because ") and "; not tensorrt: " in note
    prepare_engines(bundle)  # nothing that `auto` could build


def test_the_oldest_and_the_newest_version_are_taken(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("10.3.0.26", "11.9.1"):
        install(monkeypatch, version)
        assert BACKENDS["tensorrt"].unavailable_reason() is None


@pytest.mark.parametrize(
    ("device", "message"),
    [("cpu", "device 'cpu' is unknown to backend tensorrt"), ("cuda:7", "cuda:7 is not there")],
)
def test_a_device_that_tensorrt_cannot_use_is_an_error(
    bundle: Bundle, trt: FakeTensorRT, device: str, message: str
) -> None:
    for use in (load_runner, prepare_engines):
        with pytest.raises(BackendError, match=message):
            use(bundle, "tensorrt", device)
