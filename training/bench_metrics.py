"""`python -m training bench-metrics`: streaming pixel metrics against keeping every pixel."""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ANOMALY, KNOWN, VOID, FrameResult, PixelScores, ScoreHistogram

# Nothing here imports torch: the children import this module, and their memory is measured.

EXAMPLES = """examples:
  python -m training bench-metrics --frames 10
  nice python -m training bench-metrics
The usual way keeps every score and gives them to scikit-learn: 12 GiB for 200 frames of 2048x1024.
"""
ANOMALOUS_SHARE = 0.01
VOID_SHARE = 0.10
TPR_OF_INTEREST = 0.95
ROUNDING = 1e-9  # sums of floats in another order
KEPT_BYTES = 36  # per pixel: 5 for score and label, the rest inside scikit-learn 1.9
FREE_SHARE = 0.8  # of the memory that is free now; others may come while this runs

Frames = Iterator[tuple[np.ndarray, np.ndarray]]  # score float32 [H, W], label uint8 [H, W]


@dataclass(frozen=True)
class Load:
    """What a contender measures: frames of width x height, and the threads OpenCV may use."""

    frames: int
    width: int
    height: int
    threads: int

    def scenes(self) -> Frames:
        """The frames, made one at a time, the same ones at every call."""
        for number in range(self.frames):
            yield synthetic_frame(number, self.width, self.height)


@dataclass(frozen=True)
class Outcome:
    """What a contender found and cost. Seconds are those of metric work, frames not counted.

    resident: the peak of its process in bytes. before: the part of it that was reached before the
    metric saw a frame, for the libraries and the making of frames.
    """

    scores: PixelScores
    seconds: float
    resident: int
    before: int


def add_parser(subparsers: Any) -> None:
    """Add the verb `bench-metrics`."""
    parser = subparsers.add_parser(
        "bench-metrics",
        help="streaming pixel metrics against scikit-learn on all pixels at once",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=_count, default=200)
    parser.add_argument("--size", type=_size, default=(2048, 1024), metavar="WIDTHxHEIGHT")
    parser.add_argument(
        "--threads", type=_count, default=1, help="of OpenCV; numpy and scikit-learn use one here"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print what both cost and find; returns 1 where they differ by more than the stated error.

    Raises MetricError when scikit-learn is not installed or memory does not suffice.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MetricError(
            "scikit-learn is not installed, and bench-metrics compares with it: "
            "pip install scikit-learn"
        )
    width, height = args.size
    load = Load(args.frames, width, height, args.threads)
    _check_memory(load)
    ours, usual = alone(histogram, load), alone(all_pixels, load)
    _print_costs(load, ours, usual)
    return 0 if _print_results(ours.scores, usual.scores) else 1


def alone(contender: Callable[[Load], Outcome], load: Load) -> Outcome:
    """Run in a process of its own, so that the peak is the contender's.

    Raises MetricError when the process does not live to tell.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(_with_threads, contender, load).result()
        except (BrokenProcessPool, MemoryError) as error:
            raise MetricError(
                f"{contender.__name__} did not get through {load.frames} frames of "
                f"{load.width}x{load.height}, most likely for want of memory: use fewer --frames"
            ) from error


def histogram(load: Load) -> Outcome:
    """Count each frame, forget it."""
    metric = ScoreHistogram()
    seconds, before = 0.0, 0
    for score, label in load.scenes():
        before = before or _peak_bytes()
        begin = time.perf_counter()
        metric.update(FrameResult(score, label))
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    scores = metric.compute()
    seconds += time.perf_counter() - begin
    return Outcome(scores, seconds, _peak_bytes(), before)


def all_pixels(load: Load) -> Outcome:
    """Keep the pixels that are not void, 5 bytes each, and give them to scikit-learn at the end.

    The area comes from the same curve as FPR95. That is what roc_auc_score does, without its second
    sort and its 8-byte labels, which cost half as much memory again.
    """
    from sklearn.metrics import auc, average_precision_score, roc_curve

    kept_scores: list[np.ndarray] = []
    kept_labels: list[np.ndarray] = []
    seconds, before = 0.0, 0
    for score, label in load.scenes():
        before = before or _peak_bytes()
        begin = time.perf_counter()
        seen = label != VOID
        kept_scores.append(score[seen])
        kept_labels.append(label[seen])
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    scores, labels = np.concatenate(kept_scores), np.concatenate(kept_labels)
    del kept_scores, kept_labels
    ap = average_precision_score(labels, scores)
    # All thresholds: among those left out by default can be the one that FPR95 asks for.
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    auroc, fpr95 = auc(fpr, tpr), fpr[np.argmax(tpr >= TPR_OF_INTEREST)]
    seconds += time.perf_counter() - begin
    positives = int(np.count_nonzero(labels == ANOMALY))
    found = PixelScores(
        ap=float(ap),
        auroc=float(auroc),
        fpr95=float(fpr95),
        positives=positives,
        negatives=labels.size - positives,
    )
    return Outcome(found, seconds, _peak_bytes(), before)


def synthetic_frame(seed: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Score float32 [H, W] in 0..1 and label uint8 [H, W] as a road scene might give them.

    The score is smooth and mostly small; about 1 % of the pixels, in patches, are anomalous and
    score higher at most places, 10 % are void.
    """
    rng = np.random.default_rng(seed)
    anomalous = _largest(_smooth(rng, width, height), ANOMALOUS_SHARE / (1 - VOID_SHARE))
    void = _largest(_smooth(rng, width, height), VOID_SHARE)
    label = np.where(anomalous, np.uint8(ANOMALY), np.uint8(KNOWN))
    label[void] = VOID
    logit = 1.5 * _smooth(rng, width, height) - 4
    logit += 4 * cv2.GaussianBlur(anomalous.astype(np.float32), (0, 0), 2)
    return 1 / (1 + np.exp(-logit)), label


def _smooth(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Normal noise at 1/32 and at 1/4 of the size, enlarged: float32 [H, W], around 0."""
    coarse = _enlarged(rng, width, height, 32)
    return coarse + 0.3 * _enlarged(rng, width, height, 4)


def _enlarged(rng: np.random.Generator, width: int, height: int, stride: int) -> np.ndarray:
    noise = rng.standard_normal((-(-height // stride), -(-width // stride)), np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def _largest(field: np.ndarray, share: float) -> np.ndarray:
    """Where the largest `share` of the values lies: bool [H, W]."""
    return field > np.quantile(field, 1 - share)


def _with_threads(contender: Callable[[Load], Outcome], load: Load) -> Outcome:
    cv2.setNumThreads(load.threads)
    return contender(load)


def _check_memory(load: Load) -> None:
    """Rather an error now than the kernel ending some process, of whomever, minutes later."""
    each = KEPT_BYTES * round(load.width * load.height * (1 - VOID_SHARE))
    usable = int(FREE_SHARE * 1024 * _kilobytes("/proc/meminfo", "MemAvailable"))
    if load.frames * each > usable:
        raise MetricError(
            f"scikit-learn needs about {load.frames * each / 2**30:.1f} GiB for {load.frames} "
            f"frames of {load.width}x{load.height}, and {usable / 2**30:.1f} GiB can be spared: "
            f"use at most --frames {usable // each}, or a smaller --size"
        )


def _peak_bytes() -> int:
    """Peak resident memory of this process.

    Not from getrusage: its ru_maxrss starts with the peak of the process that started this one.
    """
    return 1024 * _kilobytes("/proc/self/status", "VmHWM")


def _kilobytes(file: str, name: str) -> int:
    lines = Path(file).read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value)


def _print_costs(load: Load, ours: Outcome, usual: Outcome) -> None:
    pixels = usual.scores.positives + usual.scores.negatives
    print(
        f"{load.frames} frames of {load.width}x{load.height}, {pixels / 1e6:.1f} million pixels "
        f"that are not void, {usual.scores.positives / pixels:.2%} anomalous, "
        f"threads: {load.threads}"
    )
    print(f"  {'':28s}{'seconds':>10s}{'ms/frame':>10s}{'peak MiB':>10s}{'before':>10s}")
    for name, outcome in (("ScoreHistogram", ours), ("all pixels, scikit-learn", usual)):
        print(
            f"  {name:28s}{outcome.seconds:10.2f}{1e3 * outcome.seconds / load.frames:10.1f}"
            f"{outcome.resident / 2**20:10.0f}{outcome.before / 2**20:10.0f}"
        )
    print(
        f"  {'ratio':28s}{usual.seconds / ours.seconds:10.1f}{'':10s}"
        f"{usual.resident / ours.resident:10.1f}"
    )


def _print_results(ours: PixelScores, usual: PixelScores) -> bool:
    """Whether each difference lies within the error that the histogram states."""
    print(f"  {'':8s}{'histogram':>12s}{'all pixels':>12s}{'difference':>12s}{'stated error':>14s}")
    within = True
    for name, near, exact, error in (
        ("AP", ours.ap, usual.ap, ours.ap_error),
        ("AUROC", ours.auroc, usual.auroc, ours.auroc_error),
        ("FPR95", ours.fpr95, usual.fpr95, ours.fpr95_error),
    ):
        inside = abs(near - exact) <= error + ROUNDING
        within &= inside
        print(
            f"  {name:8s}{near:12.6f}{exact:12.6f}{near - exact:12.1e}{error:14.1e}"
            f"{'' if inside else '  beyond the stated error'}"
        )
    return within


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, such as 2048x1024")
    return int(width), int(height)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)
