"""Detector: camera images in, labels, anomaly score and mask at camera size out. No ROS in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, NOT_LOOKED, Bundle, OperatingPoint
from anomaly_seg_ros.bundle_parts import FOCUSES, SYNTHESIS, TensorSpec
from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.focus import large_regions, one_cell_wider, road_hull, stands_on
from anomaly_seg_ros.imaging import Fitting

MAPS = ("labels", "score", "mask")  # what a Detection holds at camera size
MAX_CAMERA_SIZES = 8  # fittings kept; more sizes than that in one process are no camera rig


@dataclass(frozen=True)
class Detection:
    """What was found in one image. Maps that were not wanted are None.

    `extras` holds what else was wanted:
    - synthesis: uint8 [H, W, 3] RGB at camera size, black where the network did not look;
    - any other map that the bundle declares as float32 [1, h, w] (perceptual_difference, entropy):
      float32 [H, W] at camera size, enlarged as the score is, NaN where it did not look;
    - everything else, features_* among it: as the network makes it, without the batch dimension.

    Arrays are the caller's own, except that with a network as large as the camera image they may
    be the backend's arrays of this run; they are never reused by a later run.
    """

    labels: np.ndarray | None  # uint8 [H, W], ids of bundle.classes; 255 where it did not look
    score: np.ndarray | None  # float32 [H, W], higher = more anomalous; NaN where it did not look
    mask: np.ndarray | None  # uint8 [H, W], 0 or 255
    extras: dict[str, np.ndarray]  # by name
    seconds: dict[str, float]  # "fit", each stage, "run" (all stages), "finish"; per image

    def array(self, name: str) -> np.ndarray | None:
        """labels, score, mask or an extra by its name; None when it was not wanted."""
        return getattr(self, name) if name in MAPS else self.extras.get(name)


class Detector:
    """A bundle on a backend, from camera image to mask.

    bundle: shipped name, folder or open Bundle. backend, device, precision, threads: see
    `backends.load_runner`. operating_point: name of one of the bundle's.
    region: where the camera's view counts for the mask, camera size, non-zero = used: a
    single-channel array [H, W] or the path of such an image file.
    threshold, focus: take the place of the operating point's.

    The mask is 255 where the score at camera size (float32) is >= the threshold, narrowed to
    1. with focus `road`: cells of the network grid on the predicted drivable surface (its filled
       hull, see focus.road_hull) and what stands on it (focus.stands_on). Without any drivable
       surface in the picture nothing is narrowed: blindness must not hide an obstacle.
    2. with min_region: 8-connected regions of at least that many cells of the network grid.
    3. the region.
    1 and 2 work on the cells whose own score is >= the threshold; the mask keeps the pixels of
    these cells and of their eight neighbours, into which the smoothly enlarged score runs out.

    Belongs to one thread at a time; threshold, focus and operating point may be set from another
    and hold from the next `detect` on. Raises BundleError, BackendError, DetectorError.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle = DEFAULT_BUNDLE,
        backend: str = "auto",
        operating_point: str = "default",
        *,
        region: np.ndarray | str | Path | None = None,
        threshold: float | None = None,
        focus: str | None = None,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._focus = _checked_focus(focus)
        self._point = self._named_point(operating_point)
        if threshold is not None:
            self.threshold = threshold
        self._region = None if region is None else _used_pixels(region)
        self._drivable = np.zeros(256, np.uint8)  # 1 at the ids of drivable classes
        self._drivable[[entry.id for entry in self.bundle.network_classes if entry.drivable]] = 1
        self._fittings: dict[tuple[int, int], Fitting] = {}
        self.runner: Runner = load_runner(self.bundle, backend, device, precision, threads)

    @property
    def operating_point(self) -> OperatingPoint:
        """What is in force, own threshold and focus included. Set it by name."""
        return self._point

    @operating_point.setter
    def operating_point(self, name: str) -> None:
        self._point = self._named_point(name)

    @property
    def threshold(self) -> float:
        """Score from which a pixel is an anomaly. Setting the operating point sets it anew."""
        return self._point.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not isinstance(value, Real) or not np.isfinite(value):
            raise DetectorError(f"threshold is {value!r}; expected a finite number")
        self._point = replace(self._point, threshold=float(value))

    @property
    def focus(self) -> str:
        """Where the mask looks: everywhere or road. Set None for the operating point's own."""
        return self._point.focus

    @focus.setter
    def focus(self, value: str | None) -> None:
        self._focus = _checked_focus(value)
        own = self.bundle.operating_points[self._point.name].focus
        self._point = replace(self._point, focus=self._focus or own)

    def detect(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        wanted: Sequence[str] = MAPS,
    ) -> list[Detection]:
        """Detect in one or several camera images, one Detection each.

        images: uint8 [H, W, 3] RGB arrays, of any and of different sizes; one array counts as a
        list of one. wanted: labels, score, mask and any other tensor the bundle makes; stages and
        steps that nothing wanted needs are left out.
        Raises DetectorError for another image, a name that is no tensor of the bundle, a region of
        another size, and when the score or another map of the network is not finite.
        """
        frames = _frames(images)
        if not frames:
            return []
        point = self._point
        tensors = self._tensors(wanted, point)
        fitted, fit_seconds = [], []
        for frame in frames:
            start = time.perf_counter()
            self._check_region(frame)
            fitted.append(self._fitting(frame).fit(frame))
            fit_seconds.append(time.perf_counter() - start)
        batch = fitted[0][None] if len(fitted) == 1 else np.stack(fitted)
        result = self.runner.run(batch, tensors)
        shares = {name: seconds / len(frames) for name, seconds in result.seconds.items()}
        shares["run"] = shares.pop("total")
        detections = []
        for index, frame in enumerate(frames):
            start = time.perf_counter()
            arrays = {name: array[index] for name, array in result.arrays.items()}
            maps = self._finish(self._fitting(frame), arrays, wanted, point)
            extras = {
                name: self._extra(self._fitting(frame), name, arrays[name])
                for name in wanted
                if name not in MAPS
            }
            finish = time.perf_counter() - start
            seconds = {"fit": fit_seconds[index], **shares, "finish": finish}
            detections.append(Detection(**maps, extras=extras, seconds=seconds))
        return detections

    def warmup(self, runs: int = 2) -> float:
        """Run all stages on a black image; seconds of the last run."""
        return self.runner.warmup(runs)

    def close(self) -> None:
        """Release the backend's memory; a later `detect` raises BackendError."""
        self.runner.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _named_point(self, name: str) -> OperatingPoint:
        points = self.bundle.operating_points
        if name not in points:
            raise DetectorError(
                f"bundle {self.bundle.name} has no operating point {name!r}; it has "
                f"{', '.join(points)}"
            )
        return replace(points[name], focus=self._focus or points[name].focus)

    def _tensors(self, wanted: Sequence[str], point: OperatingPoint) -> list[str]:
        """The tensors that the wanted maps and extras are made from."""
        if isinstance(wanted, str):
            raise DetectorError(f"wanted is {wanted!r}; expected a list of names: [{wanted!r}]")
        made = dict.fromkeys((*MAPS, *self.bundle.outputs()))
        unknown = [name for name in wanted if name not in made]
        if unknown:
            raise DetectorError(
                f"bundle {self.bundle.name} makes no {', '.join(unknown)}; it makes "
                f"{', '.join(made)}: leave it out or take another bundle"
            )
        tensors = dict.fromkeys(name for name in wanted if name != "mask")
        if "mask" in wanted:
            tensors["score"] = None
            if point.focus == "road":
                tensors["labels"] = None
        return list(tensors)

    def _finish(
        self,
        fitting: Fitting,
        arrays: dict[str, np.ndarray],
        wanted: Sequence[str],
        point: OperatingPoint,
    ) -> dict[str, np.ndarray | None]:
        """Labels, score and mask at camera size, None where not wanted."""
        maps: dict[str, np.ndarray | None] = dict.fromkeys(MAPS)
        if "labels" in wanted:
            labels, own = arrays["labels"], self.bundle.class_map
            if own is not None:
                labels = cv2.LUT(labels, own.table)
            maps["labels"] = fitting.restore(labels, nearest=True, fill=NOT_LOOKED)
        if "score" in wanted or "mask" in wanted:
            self._check_finite("score", arrays["score"])
            score = fitting.restore(arrays["score"], nearest=False, fill=np.nan)
            if "score" in wanted:
                maps["score"] = score
            if "mask" in wanted:
                maps["mask"] = self._mask(fitting, score, arrays, point)
        return maps

    def _mask(
        self,
        fitting: Fitting,
        score: np.ndarray,
        arrays: dict[str, np.ndarray],
        point: OperatingPoint,
    ) -> np.ndarray:
        """uint8 [H, W], 0 or 255, from the score at camera size; see the class."""
        threshold = np.float32(point.threshold)
        mask = (score >= threshold).view(np.uint8)
        mask *= 255
        if point.focus == "road" or point.min_region > 1:
            grid = arrays["score"]
            flagged = grid >= threshold
            if not flagged.any():
                return np.zeros_like(mask)
            if point.focus == "road":
                hull = road_hull(self._surface(fitting, arrays["labels"], grid))
                if hull is not None:
                    flagged = stands_on(flagged, hull)
            if point.min_region > 1:
                flagged = large_regions(flagged, point.min_region)
            kept = one_cell_wider(flagged)
            if not kept.all():
                mask &= fitting.restore(kept.view(np.uint8) * np.uint8(255), nearest=True, fill=0)
        if self._region is not None:
            mask &= self._region
        return mask

    def _surface(self, fitting: Fitting, labels: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Drivable cells on the score's grid, bool [h, w]; a letterbox's padding is none."""
        shape = (grid.shape[0], grid.shape[1])
        drivable = cv2.LUT(labels, self._drivable).view(bool)
        if drivable.shape != shape:
            drivable = Fitting(shape, drivable.shape).restore(drivable, nearest=True, fill=0)
        if fitting.target[2:] != fitting.network:
            rows, columns = (
                slice(
                    round(fitting.target[axis] * shape[axis] / fitting.network[axis]),
                    round(sum(fitting.target[axis::2]) * shape[axis] / fitting.network[axis]),
                )
                for axis in (0, 1)
            )
            inside = np.zeros_like(drivable)
            inside[rows, columns] = drivable[rows, columns]
            return inside
        return drivable

    def _extra(self, fitting: Fitting, name: str, array: np.ndarray) -> np.ndarray:
        """A tensor of the network, without batch dimension, as `Detection.extras` promises it."""
        if name == SYNTHESIS:
            self._check_finite(name, array)
            return fitting.restore(_pixels(array), nearest=False, fill=0)
        if _is_map(self.bundle.outputs()[name]):
            self._check_finite(name, array)
            return fitting.restore(array, nearest=False, fill=np.nan)
        return array

    def _check_finite(self, name: str, array: np.ndarray) -> None:
        if not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise DetectorError(
                f"stage {self.bundle.maker(name).name} gave a {name} with {count} of {array.size} "
                "values not finite, expected numbers: the model overflows at precision "
                f"{self.runner.describe().precision}; use fp32 or export the bundle again"
            )

    def _check_region(self, frame: np.ndarray) -> None:
        if self._region is not None and self._region.shape != frame.shape[:2]:
            raise DetectorError(
                f"the region is {_size(self._region)} but the camera image is {_size(frame)} "
                "(height x width): draw the region at the camera's size"
            )

    def _fitting(self, frame: np.ndarray) -> Fitting:
        size = (frame.shape[0], frame.shape[1])
        if size not in self._fittings:
            if len(self._fittings) >= MAX_CAMERA_SIZES:
                self._fittings.pop(next(iter(self._fittings)))
            spec = self.bundle.input
            self._fittings[size] = Fitting(
                size, (spec.height, spec.width), spec.fit, spec.antialias
            )
        return self._fittings[size]


def _is_map(spec: TensorSpec) -> bool:
    """Whether a tensor has one number for each cell of the picture."""
    return (
        spec.dtype == "float32" and len(spec.shape) == 3 and not spec.name.startswith("features_")
    )


def _pixels(synthesis: np.ndarray) -> np.ndarray:
    """A picture float32 [3, h, w] in 0..1 (clipped) as uint8 [h, w, 3]."""
    planes = np.rint(255 * np.clip(synthesis, 0, 1)).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _checked_focus(focus: str | None) -> str | None:
    if focus is not None and focus not in FOCUSES:
        raise DetectorError(f"unknown focus {focus!r}; expected one of {', '.join(FOCUSES)}")
    return focus


def _frames(images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """The images as a checked list of uint8 [H, W, 3] that OpenCV can read."""
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images = [images]
    frames = []
    for index, image in enumerate(images):
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or image.size == 0
        ):
            found = (
                f"{image.dtype} {list(image.shape)}"
                if isinstance(image, np.ndarray)
                else type(image).__name__
            )
            raise DetectorError(f"image {index} is {found}; expected uint8 [H, W, 3] RGB")
        frames.append(np.ascontiguousarray(image))
    return frames


def _used_pixels(region: np.ndarray | str | Path) -> np.ndarray:
    """A region as uint8 [H, W], 255 = used."""
    what = "the region"
    if not isinstance(region, np.ndarray):
        path = Path(region).expanduser()
        what = f"the region {path}"
        if not path.is_file():
            raise DetectorError(f"{what} is missing; expected a single-channel image file")
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise DetectorError(f"{what} is no image that OpenCV reads; expected a mono8 PNG")
        region = found
    if region.ndim != 2:
        raise DetectorError(
            f"{what} has shape {list(region.shape)}; expected one channel [H, W], non-zero = used"
        )
    used = (region != 0).view(np.uint8) * np.uint8(255)
    if not used.any():
        raise DetectorError(f"{what} is zero everywhere; expected non-zero where pixels are used")
    return used


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
