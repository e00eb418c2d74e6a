"""Statistics that some baselines need: fitted once on training frames, kept with the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anomaly_seg_ros.replay.progress import Progress
from training.baselines import BASELINES
from training.baselines.base import Baseline
from training.benchmark.contenders import OWN, ContenderSpec, baseline_of, segmenter_of
from training.benchmark.results import BenchmarkError
from training.data.catalogue import TRAINING_SETS
from training.data.labelled_frames import LabelledFrames


def fitted(
    spec: ContenderSpec, root: Path, out: Path, fit_set: str, count: int, progress: Progress
) -> ContenderSpec:
    """The contender with its statistics: from `out` where they are kept, else fitted now.

    Frames are `count` evenly spread ones of the training set `fit_set`. Raises BenchmarkError for
    an unknown set, DatasetError where it is missing.
    """
    if spec.method == OWN or "fit" not in BASELINES[spec.method].needs:
        return spec
    if fit_set not in TRAINING_SETS:
        raise BenchmarkError(
            f"unknown training set {fit_set!r} to fit {spec.method} on; known: "
            f"{', '.join(sorted(TRAINING_SETS))}"
        )
    told = json.dumps([spec.identity(), fit_set, count], sort_keys=True).encode()
    file = out / "fitted" / f"{spec.folder}_{hashlib.sha256(told).hexdigest()[:12]}.pt"
    if not file.is_file():
        frames = TRAINING_SETS[fit_set](root, "train")
        segmenter = segmenter_of(spec)
        baseline = baseline_of(spec, segmenter)
        with progress(f"fitting {spec.name}", min(count, frames.count), 0) as advance:
            baseline.fit(segmenter, _spread(frames, count, advance))
        _save(baseline, file)
    return replace(spec, fitted=str(file))


def _spread(
    frames: LabelledFrames, count: int, advance: Callable[[], object]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for index in np.unique(np.linspace(0, frames.count - 1, count).astype(int)):
        yield frames.read(int(index))
        advance()


def _save(baseline: Baseline, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    torch.save(baseline.state_dict(), part)
    part.replace(file)
