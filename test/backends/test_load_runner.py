"""Picking a backend: auto says why, a named one is never replaced."""

from __future__ import annotations

import importlib.util

import onnxruntime
import pytest

from anomaly_seg_ros.backends import BACKENDS, load_runner
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


@pytest.mark.parametrize("name", ["tensorrt", "torch", "ONNXRuntime", ""])
def test_an_unknown_backend_lists_those_that_exist(bundle: Bundle, name: str) -> None:
    with pytest.raises(BackendError, match=f"unknown backend '{name}'; there are auto, onnxrunt"):
        load_runner(bundle, name)


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
