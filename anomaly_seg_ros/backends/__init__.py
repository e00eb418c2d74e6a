"""Backends run bundles. `load_runner` picks one; a backend that was named is never replaced."""

from __future__ import annotations

import logging

from anomaly_seg_ros.backends.base import Backend, Runner, RunnerInfo, RunResult
from anomaly_seg_ros.backends.build_watch import BuildCancelled, BuildStep, BuildWatch
from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from anomaly_seg_ros.backends.tensorrt_backend import TensorRTBackend
from anomaly_seg_ros.backends.torch_backend import TorchBackend
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BackendError

__all__ = [
    "BACKENDS",
    "Backend",
    "BuildCancelled",
    "BuildStep",
    "BuildWatch",
    "RunResult",
    "Runner",
    "RunnerInfo",
    "load_runner",
    "prepare_engines",
]

log = logging.getLogger(__name__)

TENSORRT = TensorRTBackend()
ONNXRUNTIME = OnnxRuntimeBackend()
BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (TENSORRT, TorchBackend(), ONNXRUNTIME)
}


def load_runner(
    bundle: Bundle,
    backend: str = "auto",
    device: str | None = None,
    precision: str = "fp32",
    threads: int | None = None,
) -> Runner:
    """Load a bundle on a named backend, or with `auto` on the fastest one that runs here.

    `auto` takes TensorRT where its engines have been built (`prepare_engines` does that, this
    never), else ONNX Runtime on the GPU where it can use it, else ONNX Runtime on the CPU; a device
    that was named is never replaced. `describe().note` and the log say which and why.
    threads: default the usable cores, at most 4.
    Raises BackendError for an unknown backend, an absent device or precision.
    """
    if backend != "auto":
        return _named(backend).load(bundle, device, precision, threads)
    passed_over = []
    if _may_be_tensorrt(device):
        reason = TENSORRT.unavailable_reason()
        if reason is None:
            try:
                runner = TENSORRT.load(bundle, device, precision, threads)
                return _noted(runner, "auto: tensorrt, as its engines are there")
            except BackendError as error:
                reason = str(error)
        passed_over.append(f"not tensorrt: {_short(reason)}")
    if device is not None:
        runner = ONNXRUNTIME.load(bundle, device, precision, threads)
        return _noted(runner, f"auto: device {device} was named", *passed_over)
    reason = ONNXRUNTIME.unavailable_reason() or ONNXRUNTIME.cuda_unavailable_reason()
    if reason is None:
        try:
            runner = ONNXRUNTIME.load(bundle, "cuda", precision, threads)
            return _noted(runner, "auto: this onnxruntime has the CUDA provider", *passed_over)
        except BackendError as error:
            reason = str(error)
    runner = ONNXRUNTIME.load(bundle, "cpu", precision, threads)
    return _noted(runner, f"auto: CPU, because {_short(reason)}", *passed_over)


def prepare_engines(
    bundle: Bundle,
    backend: str = "auto",
    device: str | None = None,
    precision: str = "fp32",
    watch: BuildWatch | None = None,
) -> None:
    """Build what `load_runner` with the same arguments would want to find; may take minutes.

    `auto` builds for TensorRT where it can run here; when that fails it says why in the log, and
    `load_runner` takes another backend. Raises BackendError for a named backend that cannot build,
    and BuildCancelled.
    """
    if backend != "auto":
        _named(backend).prepare(bundle, device, precision, watch)
    elif _may_be_tensorrt(device) and TENSORRT.unavailable_reason() is None:
        try:
            TENSORRT.prepare(bundle, device, precision, watch)
        except BuildCancelled:
            raise
        except BackendError as error:
            log.warning("auto: no engines of tensorrt: %s", error)


def _named(backend: str) -> Backend:
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; there are auto, {', '.join(BACKENDS)}")
    return BACKENDS[backend]


def _may_be_tensorrt(device: str | None) -> bool:
    return device is None or device.startswith("cuda")


def _noted(runner: Runner, *reasons: str) -> Runner:
    """The runner with why `auto` took it."""
    runner.note = "; ".join(reasons)
    log.info("%s", runner.note)
    return runner


def _short(reason: str) -> str:
    """The first line of a reason: notes are shown on one."""
    return reason.partition("\n")[0].rstrip(":")
