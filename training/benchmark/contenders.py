"""Who competes: a bundle, a checkpoint or a Python object, by its own score or by a baseline's.

A `ContenderSpec` travels to the workers, which open it once; `predict` then takes one image.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.imaging import Fitting
from anomaly_seg_ros.replay.detection import bundle_hash
from training.baselines import BASELINES, make_baseline
from training.baselines.base import Baseline
from training.benchmark.predictions import Prediction, slug
from training.benchmark.results import BenchmarkError
from training.bundle_segmenter import BundleSegmenter, space_of
from training.checkpoints import open_chain, open_segmenter
from training.data.label_spaces import CITYSCAPES, VOID, LabelSpace
from training.segmenter import Segmenter

OWN = "own"  # the score that a bundle or checkpoint was made with
LOWEST = float(np.finfo(np.float32).min)  # where the network did not look
KINDS = ("bundle", "checkpoint", "python")


@dataclass(frozen=True)
class ContenderSpec:
    """One row of the tables.

    kind: bundle (shipped name or folder), checkpoint (file) or python ("MODULE:CALLABLE", called
    without arguments; `predict(image)` of what it returns gives a score float32 [H, W], or score
    and train ids uint8 [H, W]). method: "own" or a name of `training.baselines.BASELINES`. others:
    further checkpoints of an ensemble. fitted: file of the baseline's statistics.
    """

    kind: str
    source: str
    method: str = OWN
    device: str = ""
    precision: str = "fp32"
    threads: int = 1
    operating_point: str = "default"
    others: tuple[str, ...] = ()
    seed: int = 0
    fitted: str = ""

    @property
    def name(self) -> str:
        """What the tables call it."""
        base = self.source if self.kind == "python" else Path(self.source).name
        if self.kind == "checkpoint":
            base = "/".join(Path(self.source).parts[-2:])
        if self.kind == "bundle" and self.operating_point != "default":
            base += f" at {self.operating_point}"
        return base if self.method == OWN else f"{base}, {self.method}"

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        return slug(self.name)

    def identity(self) -> dict[str, str]:
        """What tells it from another: kept with its predictions, compared when a run goes on.

        Raises AnomalySegError where the bundle or file is missing or the method unknown.
        """
        if self.method != OWN and self.method not in BASELINES:
            raise BenchmarkError(
                f"unknown method {self.method!r}; known: {OWN}, {', '.join(BASELINES)}"
            )
        told = {"kind": self.kind, "source": self.source, "method": self.method}
        if self.kind != "python":
            told |= {"precision": self.precision, "device": self.device or "auto"}
        if self.kind == "bundle":
            told["operating_point"] = self.operating_point
            told["bundle_hash"] = bundle_hash(Bundle.open(self.source).folder)
        elif self.kind == "checkpoint":
            told["sha256"] = _hash(self.source)
        if self.others:
            told["ensemble_with"] = ", ".join(_hash(other) for other in self.others)
        if self.method != OWN:
            told["about"] = BASELINES[self.method].about
            told["seed"] = str(self.seed)
        return told


def _hash(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        raise BenchmarkError(f"checkpoint {path} is missing")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Contender(ABC):
    """Opened in one worker."""

    @abstractmethod
    def predict(self, image: np.ndarray, space: LabelSpace) -> Prediction:
        """image: uint8 [H, W, 3] RGB. space: the ids that `predicted` is to be in."""


def open_contender(spec: ContenderSpec) -> Contender:
    """Raises AnomalySegError where the source or the method cannot be opened."""
    torch.set_num_threads(spec.threads)
    cv2.setNumThreads(spec.threads)
    if spec.kind == "python":
        return _PythonContender(spec)
    if spec.method != OWN:
        return _BaselineContender(spec)
    return _BundleContender(spec) if spec.kind == "bundle" else _CheckpointContender(spec)


def segmenter_of(spec: ContenderSpec) -> Segmenter:
    """The segmentation under a baseline. Raises BenchmarkError for a method it cannot serve."""
    if spec.kind == "python":
        raise BenchmarkError(
            f"{spec.source} is a Python object with a score of its own: method {spec.method} needs "
            "a --bundle or a --checkpoint"
        )
    if spec.kind == "bundle":
        if "network" in BASELINES[spec.method].needs:
            raise BenchmarkError(
                f"method {spec.method} needs the network itself, which a bundle's graphs do not "
                "give: use --checkpoint in place of --bundle"
            )
        return BundleSegmenter(
            Bundle.open(spec.source),
            device=spec.device or None,
            precision=spec.precision,
            threads=spec.threads,
        )
    segmenter = open_segmenter(Path(spec.source))
    segmenter.network.to(_device(spec)).eval()
    return segmenter


def baseline_of(spec: ContenderSpec, segmenter: Segmenter) -> Baseline:
    """The baseline of a spec, with its statistics where they were fitted."""
    others = [open_segmenter(Path(other)) for other in spec.others]
    for other in others:
        other.network.to(segmenter.device).eval()
    baseline = make_baseline(spec.method, segmenter, others=others, seed=spec.seed)
    if spec.fitted:
        baseline.load_state_dict(torch.load(spec.fitted, map_location="cpu", weights_only=True))
    return baseline


def _device(spec: ContenderSpec) -> torch.device:
    return torch.device(spec.device or ("cuda" if torch.cuda.is_available() else "cpu"))


class _BundleContender(Contender):
    """A bundle's own score through the vehicle's own Detector."""

    def __init__(self, spec: ContenderSpec) -> None:
        self.detector = Detector(
            spec.source,
            operating_point=spec.operating_point,
            device=spec.device or None,
            precision=spec.precision,
            threads=spec.threads,
        )
        self.detector.warmup()
        self.space = space_of(self.detector.bundle)

    def predict(self, image: np.ndarray, space: LabelSpace) -> Prediction:
        wanted = ["score", "mask"]
        if space == self.space:
            wanted.append("labels")
        elif self.space is CITYSCAPES:
            wanted.append("logits")
        begin = time.perf_counter()
        found = self.detector.detect([image], wanted)[0]
        total = time.perf_counter() - begin
        assert found.score is not None and found.mask is not None  # both were wanted
        predicted = None if found.labels is None else _known(found.labels, space)
        if "logits" in wanted:
            spec = self.detector.bundle.input
            size = (image.shape[0], image.shape[1])
            fitting = Fitting(size, (spec.height, spec.width), spec.fit, spec.antialias)
            folded = fold(found.extras["logits"], space)
            maps = [fitting.restore(group, nearest=False, fill=0.0) for group in folded]
            predicted = np.argmax(maps, axis=0).astype(np.uint8)
        return Prediction(
            score=np.nan_to_num(found.score, nan=LOWEST),
            predicted=predicted,
            mask=found.mask > 0,
            # "run" is the sum of the stages.
            seconds={k: v for k, v in found.seconds.items() if k != "run"} | {"total": total},
        )


class _BaselineContender(Contender):
    """A baseline on the segmentation of a bundle or checkpoint."""

    def __init__(self, spec: ContenderSpec) -> None:
        self.segmenter = segmenter_of(spec)
        self.baseline = baseline_of(spec, self.segmenter)

    def predict(self, image: np.ndarray, space: LabelSpace) -> Prediction:
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
        size = (image.shape[0], image.shape[1])
        begin = time.perf_counter()
        scored = self.baseline.score(self.segmenter, pixels)
        grid = scored.score[0].float().cpu().numpy()
        score = self.segmenter.restore(grid, size, fill=LOWEST)
        total = time.perf_counter() - begin
        labels = scored.labels[0].cpu().numpy()
        predicted = _in_space(labels, self.segmenter, pixels, size, space)
        return Prediction(score, predicted, None, {"run": total, "total": total})


class _CheckpointContender(Contender):
    """A checkpoint's own chain of stages, in torch; some chains predict no classes."""

    def __init__(self, spec: ContenderSpec) -> None:
        chain = open_chain(Path(spec.source))
        self.size, self.segmenter = chain.size, chain.segmenter
        self.device = _device(spec)
        self.stages = [stage.to(self.device).eval() for stage in chain.stages]

    def predict(self, image: np.ndarray, space: LabelSpace) -> Prediction:
        size = (image.shape[0], image.shape[1])
        begin = time.perf_counter()
        fitted = Fitting(size, self.size).fit(image)
        tensors = {"image": torch.from_numpy(fitted)[None].to(self.device)}
        with torch.no_grad():
            for stage in self.stages:
                made = stage(*(tensors[name] for name in stage.inputs))
                values = made if isinstance(made, tuple) else (made,)
                tensors.update(zip(stage.outputs, values, strict=True))
        grid = tensors["score"][0].float().cpu().numpy()
        score = cv2.resize(grid, size[::-1], interpolation=cv2.INTER_LINEAR)
        total = time.perf_counter() - begin
        predicted = None
        if self.segmenter is not None:
            labels = tensors["labels"][0].cpu().numpy()
            pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
            predicted = _in_space(labels, self.segmenter, pixels, size, space)
        return Prediction(score, predicted, None, {"run": total, "total": total})


class _PythonContender(Contender):
    """Any object with `predict(image)`: how a user's own model enters the tables."""

    def __init__(self, spec: ContenderSpec) -> None:
        self.source = spec.source
        module, colon, attribute = spec.source.partition(":")
        if not colon:
            raise BenchmarkError(
                f"contender {spec.source!r}: expected MODULE:CALLABLE, for example "
                "my_package.my_model:make"
            )
        try:
            self.model: Any = getattr(importlib.import_module(module), attribute)()
        except (ImportError, AttributeError) as error:
            raise BenchmarkError(
                f"contender {spec.source!r} cannot be imported ({error}): run from the folder that "
                "holds the module, or install it"
            ) from error

    def predict(self, image: np.ndarray, space: LabelSpace) -> Prediction:
        begin = time.perf_counter()
        made = self.model.predict(image)
        total = time.perf_counter() - begin
        score, labels = made if isinstance(made, tuple) else (made, None)
        _check(self.source, "score", score, np.float32, image.shape[:2])
        if labels is not None:
            _check(self.source, "labels", labels, np.uint8, image.shape[:2])
            labels = fold_labels(labels, space)
        return Prediction(score, labels, None, {"run": total, "total": total})


def _check(source: str, what: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise BenchmarkError(
            f"contender {source!r} gave {what} {array.dtype} {list(array.shape)}; expected "
            f"{np.dtype(dtype)} {list(shape)}, the image's size"
        )


def _in_space(
    labels: np.ndarray,
    segmenter: Segmenter,
    pixels: torch.Tensor,
    size: tuple[int, int],
    space: LabelSpace,
) -> np.ndarray | None:
    """Class ids uint8 [H, W] in `space`; folding coarser classes needs the probabilities again."""
    if space == segmenter.space:
        wide = (size[1], size[0])
        return cv2.resize(_known(labels, space), wide, interpolation=cv2.INTER_NEAREST_EXACT)
    if segmenter.space is not CITYSCAPES:
        return None  # other classes than the 19 have no fold
    with torch.no_grad():
        logits = segmenter.logits(segmenter.prepare(pixels))[0].float().cpu().numpy()
    maps = [segmenter.restore(group, size, fill=0.0) for group in fold(logits, space)]
    return np.argmax(maps, axis=0).astype(np.uint8)


def _known(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """uint8 [H, W] with 255, nothing predicted, in place of outputs that are no class of `space`,
    such as a trained void."""
    return np.where(labels < len(space.names), labels, np.uint8(VOID))


def fold(logits: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Logits float32 [C, h, w], the 19 train ids first -> probabilities float32 [groups, h, w]."""
    probabilities = torch.from_numpy(logits).softmax(dim=0)[: len(space.matrix)]
    matrix = torch.from_numpy(space.matrix)
    return torch.einsum("chw,cg->ghw", probabilities, matrix).contiguous().numpy()


def fold_labels(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """uint8 [H, W] of the 19 train ids -> ids of `space`; 255 where it has no such class."""
    table = np.full(256, VOID, np.uint8)
    for group, members in enumerate(space.groups):
        table[list(members)] = group
    return table[labels]
