"""Backends run bundles. `load_runner` picks one; a backend that was named is never replaced."""

from __future__ import annotations

from anomaly_seg_ros.backends.base import Backend, Runner, RunnerInfo, RunResult
from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BackendError

__all__ = ["BACKENDS", "Backend", "RunResult", "Runner", "RunnerInfo", "load_runner"]

ONNXRUNTIME = OnnxRuntimeBackend()
BACKENDS: dict[str, Backend] = {ONNXRUNTIME.name: ONNXRUNTIME}


def load_runner(
    bundle: Bundle,
    backend: str = "auto",
    device: str | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> Runner:
    """Load a bundle on a named backend, or with `auto` on the fastest one that runs here.

    `auto` without a device: the GPU where ONNX Runtime can use it, else the CPU;
    `describe().note` says which and why. threads: default the usable cores, at most 4.
    Raises BackendError for an unknown backend, an absent device or precision.
    """
    if backend in BACKENDS:
        return BACKENDS[backend].load(bundle, device, precision, threads)
    if backend != "auto":
        raise BackendError(f"unknown backend {backend!r}; there are auto, {', '.join(BACKENDS)}")
    if device is not None:
        runner = ONNXRUNTIME.load(bundle, device, precision, threads)
        runner.note = f"auto: device {device} was named"
        return runner
    reason = ONNXRUNTIME.unavailable_reason() or ONNXRUNTIME.cuda_unavailable_reason()
    if reason is None:
        try:
            runner = ONNXRUNTIME.load(bundle, "cuda", precision, threads)
            runner.note = "auto: this onnxruntime has the CUDA provider"
            return runner
        except BackendError as error:
            reason = str(error)
    runner = ONNXRUNTIME.load(bundle, "cpu", precision, threads)
    runner.note = f"auto: CPU, because {reason}"
    return runner
