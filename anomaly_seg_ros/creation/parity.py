"""Does a bundle compute what the user's network computes? Measured on drawn road scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.creation.outputs import Chosen
from anomaly_seg_ros.creation.scores import SCORES
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.imaging import Fitting
from anomaly_seg_ros.scenes import RoadSequence

SCENE_SEED, SCENE_FRAMES = 7, (0, 40)
SCENE_SIZE = (256, 512)
ERROR_LIMIT = 1e-3  # of logits and score, relative to their largest magnitude, at least 1
AGREEMENT_LIMIT = 0.999  # of labels: equal logits may round to either side of a tie

Arrays = Mapping[str, np.ndarray]


def scene_images(size: tuple[int, int], fit: str) -> list[np.ndarray]:
    """Two frames of a drawn road without unknown objects: uint8 [1, H, W, 3] RGB of that size."""
    fitting = Fitting(SCENE_SIZE, size, fit)
    return [fitting.fit(image)[None].copy() for image in _scenes()]


@cache
def _scenes() -> tuple[np.ndarray, ...]:
    """The frames as they are drawn; drawing takes longer than running a small network."""
    road = RoadSequence(SCENE_SEED, SCENE_SIZE, anomalies=False)
    return tuple(road.frame(index).image for index in SCENE_FRAMES)


def logits_of(chosen: Chosen, arrays: Arrays) -> np.ndarray | None:
    """The network's class scores as float32 [1, C, h, w]; None where it gives ids only."""
    if chosen.logits is None:
        return None
    array = arrays[chosen.logits]
    return array.transpose(0, 3, 1, 2) if chosen.class_axis == 3 else array


def expected(chosen: Chosen, arrays: Arrays, score: str) -> dict[str, np.ndarray]:
    """What a bundle must make of the network's own tensors, by numpy."""
    logits = logits_of(chosen, arrays)
    made: dict[str, np.ndarray] = {}
    if logits is not None:
        made["logits"] = logits
        made["labels"] = logits.argmax(axis=1)
    else:
        made["labels"] = _as_map(arrays[chosen.labels or ""])
    if chosen.score is not None:
        made["score"] = _as_map(arrays[chosen.score])
    elif logits is not None:
        made["score"] = SCORES[score].compute(logits)
    return made


def run_bundle(bundle: Bundle, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """All tensors of the bundle for each image, on ONNX Runtime's CPU. Raises BackendError."""
    runner = OnnxRuntimeBackend().load(bundle, "cpu")
    try:
        return [runner.run(image, tuple(bundle.outputs())).arrays for image in images]
    finally:
        runner.close()


def measure(wanted: Sequence[Arrays], found: Sequence[Arrays]) -> dict[str, float]:
    """Errors of the bundle's tensors over all images. Raises BundleError beyond the limits."""
    figures: dict[str, float] = {"frames": len(wanted)}
    faults = []
    for name in ("logits", "score"):
        if name not in wanted[0]:
            continue
        error = scale = 0.0
        for left, right in zip(wanted, found, strict=True):
            error = max(error, float(np.abs(left[name] - right[name]).max()))
            scale = max(scale, float(np.abs(left[name]).max()))
        figures[f"{name}_max_error"] = float(f"{error:.3g}")
        limit = ERROR_LIMIT * max(1.0, scale)
        if not error <= limit:  # also when it is no number
            faults.append(f"{name} differ by up to {error:.3g}, allowed {limit:.3g}")
    agreement = float(
        np.mean([(a["labels"] == b["labels"]).mean() for a, b in zip(wanted, found, strict=True)])
    )
    figures["label_agreement"] = round(agreement, 6)
    if agreement < AGREEMENT_LIMIT:
        faults.append(f"{agreement:.2%} of the labels agree, expected {AGREEMENT_LIMIT:.2%}")
    if faults:
        raise BundleError(
            f"the bundle does not compute what the network does: {'; '.join(faults)}: export the "
            "network with opset 18 and without randomness"
        )
    return figures


def _as_map(array: np.ndarray) -> np.ndarray:
    """[1, h, w] out of [1, h, w], [1, 1, h, w] or [1, h, w, 1]."""
    if array.ndim == 3:
        return array
    return array[:, 0] if array.shape[1] == 1 else array[..., 0]
