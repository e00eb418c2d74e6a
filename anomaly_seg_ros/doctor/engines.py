"""What can run networks here, the bundles to run, and the cache of built engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from anomaly_seg_ros.doctor.finding import FAIL, OFF, OK, WARN, Finding
from anomaly_seg_ros.doctor.libraries import library
from anomaly_seg_ros.doctor.surroundings import Surroundings

OLDEST_TENSORRT, TOO_NEW_TENSORRT = (10, 3), (12, 0)
LEAST_ROOM = 1_000_000_000  # bytes: engines of a bundle with what their builder writes beside them
BUILDERS = ("tensorrt", "torch")  # modules whose backends keep engines; also keys of a cache entry
NO_DRIVER = "cudaErrorInsufficientDriver"
REINSTALL = "install the package again, or copy the bundle's folder again"


def onnxruntime(around: Surroundings) -> list[Finding]:
    """ONNX Runtime and what it can compute on."""
    install = "pip install 'anomaly_seg_ros[onnx]'"
    found = library(around, "onnxruntime", "ONNX Runtime", install, "its backend", broken=FAIL)
    without_cuda = "CUDAExecutionProvider" not in found.found
    if found.mark == OK and around.machine.gpus and without_cuda:
        return [
            Finding(
                found.what,
                WARN,
                f"{found.found}: it leaves the GPU alone",
                "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
            )
        ]
    return [found]


def tensorrt(around: Surroundings) -> list[Finding]:
    """TensorRT, of a version that the backend knows."""
    install = "pip install 'anomaly_seg_ros[tensorrt]'; on a Jetson, JetPack's tensorrt"
    found = library(around, "tensorrt", "TensorRT", install, "NVIDIA GPUs")
    version = around.imported["tensorrt"].version if around.has("tensorrt") else ""
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if parts and not OLDEST_TENSORRT <= parts < TOO_NEW_TENSORRT:
        return [Finding("TensorRT", WARN, f"{version}; expected 10.3 to 11.x", install)]
    return [found]


def cuda_python(around: Surroundings) -> list[Finding]:
    """cuda-python, which TensorRT's backend needs, and whether there is a driver."""
    module = "cuda.bindings.runtime"
    found = library(around, module, "cuda-python", "pip install cuda-python", "TensorRT backends")
    if found.mark != OK:
        return [found]
    state = around.imported[module].detail
    version = around.distributions.get("cuda-bindings", "")
    if state == "cudaSuccess":
        return [Finding("cuda-python", OK, f"{version}, a GPU answers".lstrip(", "))]
    reason = "no NVIDIA driver" if state == NO_DRIVER else state
    if around.machine.gpus:
        return [
            Finding(
                "cuda-python",
                WARN,
                f"{version}: {reason}, though nvidia-smi lists a GPU",
                "update the driver, or install the cuda-python of the driver's CUDA version",
            )
        ]
    return [Finding("cuda-python", OFF, f"{version}; {reason}: no GPU can be used")]


def torch(around: Surroundings) -> list[Finding]:
    """torch, which only one backend and training need."""
    use = "its backend and training"
    return [library(around, "torch", "torch", "pip install 'anomaly_seg_ros[torch]'", use)]


def backends(around: Surroundings) -> list[Finding]:
    """Each backend: it can run, or why not. One of them must."""
    if "backends" not in around.trials:
        return [_not_tried(around, "backends")]
    reasons: Mapping[str, str | None] = around.trials["backends"]
    findings = [
        Finding(f"backend {name}", OK if reason is None else OFF, reason or "can run")
        for name, reason in reasons.items()
    ]
    if all(reason is not None for reason in reasons.values()):
        findings.append(
            Finding(
                "backends",
                FAIL,
                "none of them can run: nothing can be detected",
                "pip install 'anomaly_seg_ros[onnx]'",
            )
        )
    return findings


def one_frame(around: Surroundings) -> list[Finding]:
    """A frame through the default bundle, on what `auto` picks."""
    if "frame" not in around.trials:
        return [_not_tried(around, "frame")]
    frame = around.trials["frame"]
    if frame["fault"]:
        mend = "mend what is marked above"
        return [Finding("one frame", FAIL, frame["fault"], mend)]
    return [
        Finding(
            "one frame",
            OK,
            f"{frame['bundle']} on {frame['backend']}, {frame['device']}: "
            f"{frame['seconds'] * 1e3:.0f} ms",
        )
    ]


def bundles(around: Surroundings) -> list[Finding]:
    """Every shipped bundle is whole."""
    if "bundles" not in around.trials:
        return [_not_tried(around, "bundles")]
    faults: Mapping[str, str] = around.trials["bundles"]
    if not faults:
        return [Finding("bundles", FAIL, "none came with the package", REINSTALL)]
    return [
        Finding(name, FAIL, fault, REINSTALL)
        if fault
        else Finding(name, OK, "yaml, hashes, tensors and graphs agree")
        for name, fault in faults.items()
    ]


def cache_folder(around: Surroundings) -> list[Finding]:
    """Engines can be kept: the folder can be written and has room."""
    if "cache" not in around.trials:
        return [_not_tried(around, "cache")]
    cache = around.trials["cache"]
    used = any(module in around.imported for module in BUILDERS)
    what, folder = "engine cache", cache["folder"]
    mend = "set ANOMALY_SEG_ENGINES to a folder that can be written and has room"
    if not cache["writable"]:
        return [Finding(what, WARN if used else OFF, f"{folder} cannot be written", mend)]
    if cache["free"] < LEAST_ROOM and used:
        free = f"{cache['free'] / 1e6:.0f} MB left"
        return [Finding(what, WARN, f"{folder}: {free}, engines need about 1 GB", mend)]
    count = len(cache["engines"])
    held = f"{count} engine{'s' if count != 1 else ''}, {cache['bytes'] / 1e6:.1f} MB"
    return [Finding(what, OK, f"{folder}, {held}")]


def stale_engines(around: Surroundings) -> list[Finding]:
    """Engines that no run can use any more: of another version or GPU, or damaged."""
    if "cache" not in around.trials:
        return []  # cache_folder tells
    cache = around.trials["cache"]
    reasons = Counter(why for entry in cache["engines"] if (why := _stale(around, entry["key"])))
    if cache["damaged"]:
        reasons["damaged or not finished"] = cache["damaged"]
    if not reasons:
        return []
    shown = "; ".join(f"{count} {why}" for why, count in reasons.items())
    return [
        Finding(
            "stale engines",
            WARN,
            f"of no use here: {shown}",
            "anomaly-seg engine clear, then anomaly-seg engine build",
        )
    ]


def _stale(around: Surroundings, key: Any) -> str:
    """Why an engine is of no use; empty: it may be of use."""
    if not isinstance(key, dict):
        return "of an unknown kind"
    for module in BUILDERS:
        made = key.get(module)
        if not isinstance(made, str):
            continue
        if not around.has(module):
            return f"of {module} {made}, which is not here"
        if around.imported[module].version not in ("", made):
            return f"of {module} {made}, here is {around.imported[module].version}"
    names = [gpu.name for gpu in around.machine.gpus]
    if names and isinstance(key.get("gpu"), str) and key["gpu"] not in names:
        return f"of a {key['gpu']}, here is {', '.join(names)}"
    return ""


def _not_tried(around: Surroundings, part: str) -> Finding:
    """Our own package could not even be tried."""
    fault = around.trial_faults.get(part, "it did not run")
    mend = "mend the libraries that are marked, then install the package again"
    return Finding(part, FAIL, f"could not be tried: {fault}", mend)
