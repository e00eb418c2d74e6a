"""`python -m training measure`: what a bundle is worth on the road sets, as its model card says.

Everything runs through the vehicle's own Detector on ONNX Runtime, so the figures are those of the
shipped files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.imaging.fitting import Fitting
from anomaly_seg_ros.metrics import ConfusionMatrix, FalseRegions, FrameResult, ScoreHistogram
from training.data.label_spaces import VOID
from training.data.labelled_frames import (
    DatasetError,
    LabelledFrames,
    camvid,
    cityscapes256,
    idd_lite,
)
from training.data.outliers import Cutouts
from training.data.validation import frame_with_unknowns

EXAMPLES = """examples:
  python -m training measure street_obsnet_lite --data ../data --out build/measure.json
  python -m training measure runs/bundle --data ../data --only camvid_val_pasted
"""
AnomalyFrames = Iterable[tuple[np.ndarray, np.ndarray]]  # image RGB, label 0 / 1 / 255
SAMPLE_SETS = ("RoadAnomaly21", "RoadObstacle21", "FS_Static")
SAMPLE_HEIGHT = 384  # rows at which the sample sets are compared with earlier models


def add_parser(subparsers: Any) -> None:
    """Add the verb `measure`."""
    parser = subparsers.add_parser(
        "measure",
        help="mIoU, anomaly scores and false regions of a bundle",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="shipped name or folder")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the datasets")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    parser.add_argument("--only", nargs="*", help="some of the sets alone")
    parser.add_argument("--every", type=int, default=1, help="use each n-th frame")
    parser.add_argument("--threads", type=int, help="threads of ONNX Runtime")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0."""
    detector = Detector(Bundle.open(args.bundle), backend="onnxruntime", threads=args.threads)
    data = args.data
    sets: dict[str, Callable[[], dict[str, Any]]] = {
        "cityscapes256_val": partial(closed_set, detector, cityscapes256(data, "val")),
        "camvid_val": partial(closed_set, detector, camvid(data, "val")),
        "camvid_test_Seq05VD": partial(closed_set, detector, _part(data, "Seq05VD")),
        "camvid_test_0001TP": partial(closed_set, detector, _part(data, "0001TP")),
        "idd_lite_val": partial(closed_set, detector, idd_lite(data, "val")),
        "camvid_val_pasted": partial(anomalies, detector, pasted(data, "val")),
        "camvid_test_pasted": partial(anomalies, detector, pasted(data, "test")),
        "false_regions_udacity": partial(false_regions, detector, unlabelled(data)),
        "false_regions_camvid_test": partial(false_regions, detector, _images(data)),
    }
    for name in SAMPLE_SETS:
        small = samples(data, name, SAMPLE_HEIGHT)
        sets[name] = partial(anomalies, detector, small)
        sets[f"{name}_camera_size"] = partial(anomalies, detector, samples(data, name, None))
    unknown = set(args.only or ()) - set(sets)
    if unknown:
        raise DatasetError(f"unknown sets {sorted(unknown)}; known: {', '.join(sets)}")
    figures = {}
    for name, measure in sets.items():
        if args.only and name not in args.only:
            continue
        figures[name] = measure()
        print(f"{name}: {json.dumps(figures[name])}", flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def closed_set(detector: Detector, frames: LabelledFrames) -> dict[str, Any]:
    """Class IoU in the set's own label space, at the frame's true shape."""
    matrix = ConfusionMatrix(len(frames.space.groups))
    fold = frames.space.matrix
    for index in tqdm(range(frames.count), desc=frames.name, leave=False):
        image, label = frames.read(index)
        size = (round(label.shape[1] * frames.stretch), label.shape[0])
        truth = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        # Enlarge before the detector: a stored square is no camera's frame.
        view = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        logits = detector.detect(view, wanted=("logits",))[0].extras["logits"]
        probabilities = _softmax(logits) if fold.shape[1] != fold.shape[0] else logits
        folded = np.einsum("chw,cg->ghw", probabilities, fold)
        restored = _restore_all(detector.bundle, folded, truth.shape)
        predicted = restored.argmax(axis=0).astype(np.uint8)
        nothing = np.zeros(truth.shape, np.float32)
        unscored = np.zeros(truth.shape, np.uint8)
        matrix.update(FrameResult(nothing, unscored, predicted, truth))
    scores = matrix.compute()
    iou = {
        name: round(float(value), 4)
        for name, value in zip(frames.space.names, scores.iou, strict=True)
    }
    return {"frames": frames.count, "miou": round(float(scores.miou), 4), "iou": iou}


def anomalies(detector: Detector, frames: AnomalyFrames) -> dict[str, Any]:
    """AP, AUROC and FPR95 of the bundle's score and of 1 - max softmax of the same network."""
    ours, softmax = ScoreHistogram(), ScoreHistogram()
    count = 0
    for image, label in frames:
        detection = detector.detect(image, wanted=("score", "logits"))[0]
        assert detection.score is not None  # it was wanted
        score = np.nan_to_num(detection.score, nan=0.0)
        doubt = 1.0 - _softmax(detection.extras["logits"]).max(axis=0)
        doubt = _restore(detector.bundle, doubt, label.shape)
        ours.update(FrameResult(score, label))
        softmax.update(FrameResult(doubt.astype(np.float32), label))
        count += 1
    return {"frames": count, "score": _figures(ours), "max_softmax": _figures(softmax)}


def false_regions(detector: Detector, images: Iterable[np.ndarray]) -> dict[str, Any]:
    """False regions of 200 px or more per frame on frames without anomalies, by operating point."""
    points = detector.bundle.operating_points
    counters = {name: FalseRegions(min_area=200) for name in points}
    for image in images:
        for name, counter in counters.items():
            detector.operating_point = name
            mask = detector.detect(image, wanted=("mask",))[0].mask
            assert mask is not None  # it was wanted
            counter.update(mask, np.zeros(mask.shape, np.uint8))
    detector.operating_point = "default"
    return {
        name: {
            "frames": counter.compute().frames,
            "per_100_frames": round(counter.compute().per_100_frames, 2),
        }
        for name, counter in counters.items()
    }


def _figures(histogram: ScoreHistogram) -> dict[str, float]:
    scores = histogram.compute()
    return {
        "ap": round(float(scores.ap), 4),
        "auroc": round(float(scores.auroc), 4),
        "fpr95": round(float(scores.fpr95), 4),
    }


def _image(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DatasetError(f"{path} cannot be read as an image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """logits float32 [C, h, w] -> probabilities."""
    exponent = np.exp(logits - logits.max(axis=0))
    return exponent / exponent.sum(axis=0)


def _restore(bundle: Bundle, values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    network = (bundle.input.height, bundle.input.width)
    fitting = Fitting((size[0], size[1]), network, bundle.input.fit)
    return fitting.restore(np.ascontiguousarray(values), nearest=False, fill=0.0)


def _restore_all(bundle: Bundle, values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return np.stack([_restore(bundle, channel, size) for channel in values])


def _part(root: Path, part: str) -> LabelledFrames:
    """The frames of one drive of CamVid test, which differ too much to be pooled."""
    frames = camvid(root, "test")
    chosen = [index for index, name in enumerate(frames.names) if name.startswith(part)]
    return LabelledFrames(
        f"camvid {part}", frames.space, len(chosen), lambda index: frames.read(chosen[index])
    )


def pasted(root: Path, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """CamVid frames with objects that no training saw (cut-outs of the split val)."""
    frames, cutouts = camvid(root, split), Cutouts.read(root / "cutouts", "val")
    for index in tqdm(range(frames.count), desc=f"camvid {split} pasted", leave=False):
        image, anomaly, _ = frame_with_unknowns(frames, index, cutouts)
        yield image, anomaly


def samples(root: Path, name: str, height: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of a sample set, at `height` rows (area; labels nearest) or at the camera's size."""
    folder = root / "samples" / name
    paths = sorted((folder / "images").glob("*"))
    if not paths:
        raise DatasetError(f"no frames in {folder / 'images'}")
    for path in tqdm(paths, desc=name, leave=False):
        image = _image(path)
        label = _image(folder / "labels" / f"{path.stem}.png")[..., 0]
        if height is not None:
            size = (round(image.shape[1] * height / image.shape[0]), height)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        yield image, label


def unlabelled(root: Path) -> Iterator[np.ndarray]:
    """Frames of roads the training never saw, without anything strange on them."""
    for path in sorted((root / "samples" / "closed_set" / "udacity_unlabelled").glob("*")):
        yield _image(path)


def _images(root: Path) -> Iterator[np.ndarray]:
    frames = camvid(root, "test")
    for index in tqdm(range(frames.count), desc="camvid test", leave=False):
        image, label = frames.read(index)
        if (label != VOID).any():
            yield image
