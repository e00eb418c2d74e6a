"""Try a bundle out: load its graphs, run one frame, look at what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.backends.base import Runner
from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import PRECISIONS, SYNTHESIS
from anomaly_seg_ros.errors import BackendError

CPU_TARGETS = ("onnxruntime-cpu", "any")
COLOR_TOLERANCE = 0.01  # of a picture in 0..1: what fp16 and int8 may overshoot


@dataclass(frozen=True)
class Trial:
    """One precision of a bundle on the CPU: a line for what was seen, and the faults."""

    precision: str
    seconds: float  # of one warm frame
    faults: tuple[str, ...]


def try_bundle(bundle: Bundle) -> list[Trial]:
    """Run one frame of noise on ONNX Runtime's CPU, for each precision that all stages have there.

    fp32 is always tried, so a bundle without it has a fault.
    """
    return [_try(bundle, precision) for precision in PRECISIONS if _runs_here(bundle, precision)]


def _runs_here(bundle: Bundle, precision: str) -> bool:
    return precision == "fp32" or all(
        any(f.precision == precision and f.target in CPU_TARGETS for f in stage.files)
        for stage in bundle.stages
    )


def _try(bundle: Bundle, precision: str) -> Trial:
    try:
        runner = OnnxRuntimeBackend().load(bundle, "cpu", precision)
    except BackendError as error:
        return Trial(precision, 0.0, (str(error),))
    try:
        return Trial(precision, runner.warmup(), tuple(_run_faults(bundle, runner)))
    except BackendError as error:
        return Trial(precision, 0.0, (str(error),))
    finally:
        runner.close()


def _run_faults(bundle: Bundle, runner: Runner) -> list[str]:
    """What is wrong with the tensors made from one image of noise."""
    spec = bundle.input
    noise = np.random.default_rng(0).integers(
        0, 256, (1, spec.height, spec.width, 3), dtype=np.uint8
    )
    arrays = runner.run(noise, tuple(bundle.outputs())).arrays
    faults = []
    for name, expected in bundle.outputs().items():
        array = arrays[name]
        if (array.dtype.name, array.shape) != (expected.dtype, expected.shape):
            faults.append(f"{name}: the run gave {array.dtype} {list(array.shape)}, not {expected}")
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            faults.append(f"{name}: the run gave {bad} of {array.size} values not finite")
    if SYNTHESIS in arrays:
        low, high = float(arrays[SYNTHESIS].min()), float(arrays[SYNTHESIS].max())
        if low < -COLOR_TOLERANCE or high > 1 + COLOR_TOLERANCE:
            faults.append(
                f"{SYNTHESIS}: the run gave values from {low:g} to {high:g}, expected 0 to 1"
            )
    strangers = set(np.unique(arrays["labels"]).tolist()) - set(bundle.class_names())
    if strangers:
        faults.append(
            f"labels: the run gave the ids {sorted(strangers)}, which are no class of the bundle"
        )
    return faults
