"""What a contender answered, one file per frame: inference is done once, then any protocol.

A file appears whole or not at all, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.replay.writers import write_atomically
from training.benchmark.results import BenchmarkError

STORED_SCORES = ("float32", "float16")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a contender says about one image.

    score: float32 [H, W] at the image's size, higher is more anomalous, finite. predicted: uint8
    [H, W] ids of the dataset's label space, 255 = none, or None. mask: bool [H, W] at the
    contender's own operating point, or None. seconds: wall clock by part, and "total".
    """

    score: np.ndarray
    predicted: np.ndarray | None = None
    mask: np.ndarray | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PredictionStore:
    """The folder of one contender on one dataset."""

    folder: Path
    stored: str = "float32"  # float16 halves the disk; SegmentMeIfYouCan stores that

    def path(self, frame: str) -> Path:
        """File of a frame. Raises BenchmarkError for a name that leaves the folder."""
        file = self.folder / f"{frame}.npz"
        if not file.resolve().is_relative_to(self.folder.resolve()):
            raise BenchmarkError(f"frame name {frame!r} leads out of {self.folder}")
        return file

    def has(self, frame: str) -> bool:
        return self.path(frame).is_file()

    def write(self, frame: str, prediction: Prediction) -> None:
        """Keep a prediction. Raises ReplayError where the disk refuses."""
        arrays: dict[str, Any] = {"score": prediction.score.astype(self.stored)}
        if prediction.predicted is not None:
            arrays["predicted"] = prediction.predicted
        if prediction.mask is not None:
            arrays["mask"] = np.packbits(prediction.mask, axis=1)
        arrays["parts"] = np.array(list(prediction.seconds), dtype=np.str_)
        arrays["seconds"] = np.array(list(prediction.seconds.values()), dtype=np.float64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomically(self.path(frame), buffer.getbuffer())

    def read(self, frame: str) -> Prediction:
        """Raises BenchmarkError naming a file that is missing or damaged."""
        file = self.path(frame)
        try:
            with np.load(file) as arrays:
                score = arrays["score"].astype(np.float32)
                predicted = arrays.get("predicted")
                mask = None
                if "mask" in arrays:
                    mask = np.unpackbits(arrays["mask"], axis=1, count=score.shape[1]).view(bool)
                seconds = dict(
                    zip(arrays["parts"].tolist(), arrays["seconds"].tolist(), strict=True)
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BenchmarkError(
                f"{file}: not a whole prediction ({error}). Delete it and run the command again."
            ) from error
        return Prediction(score, predicted, mask, seconds)


def slug(name: str) -> str:
    """A name as one folder's name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "unnamed"
