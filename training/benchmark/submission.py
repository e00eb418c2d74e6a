"""Score maps as files that SegmentMeIfYouCan's evaluation reads."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from anomaly_seg_ros.replay.writers import write_atomically
from training.benchmark.results import BenchmarkError

FLOAT16_MAX = float(np.finfo(np.float16).max)
COMPRESSION = 9  # gzip level that the benchmark's own writer uses
SAMPLED = 200_000  # pixels of a frame whose resolution is checked
MAX_NEWLY_TIED = 0.01  # share of pixel pairs that float16 may make equal


@dataclass(frozen=True)
class OfficialSet:
    """A folder of the upload, and how many frames of it the benchmark evaluates at least."""

    folder: str
    frames: int


ANOMALY_TRACK = OfficialSet("AnomalyTrack-all", 110)
OBSTACLE_TRACK = OfficialSet("ObstacleTrack-all", 357)  # 327 of the test split, 30 of validation
LOST_AND_FOUND = OfficialSet("LostAndFound-test", 1043)
OFFICIAL_SETS = {
    "road_anomaly21": ANOMALY_TRACK,
    "AnomalyTrack-all": ANOMALY_TRACK,
    "AnomalyTrack-test": OfficialSet("AnomalyTrack-all", 100),
    "AnomalyTrack-validation": OfficialSet("AnomalyTrack-all", 10),
    "road_obstacle21": OBSTACLE_TRACK,
    "ObstacleTrack-all": OBSTACLE_TRACK,
    "ObstacleTrack-test": OfficialSet("ObstacleTrack-all", 327),
    "ObstacleTrack-validation": OfficialSet("ObstacleTrack-all", 30),
    "lost_and_found_no_known": LOST_AND_FOUND,
    "LostAndFound-test": LOST_AND_FOUND,
    "LostAndFound-testNoKnown": LOST_AND_FOUND,
}


@dataclass(frozen=True)
class Submission:
    """What was written: the folder of the frames, how many, and what to know before uploading."""

    folder: Path
    frames: int
    notes: tuple[str, ...]


def write_smiyc_submission(
    frames: Iterable[tuple[str, np.ndarray]],
    out: Path,
    method: str,
    dataset: str,
    *,
    scale: tuple[float, float] | None = None,
) -> Submission:
    """Write `out/anomaly_p/METHOD/SET/FRAME.hdf5`, each with a float16 dataset `value` [H, W].

    frames: name as in the dataset (folders, and `_leftImg8bit` of Lost and Found, are cut off) and
    score [H, W], higher = more anomalous. dataset: our name or the benchmark's, see OFFICIAL_SETS.
    scale: (low, high) maps scores linearly, low to 0 and high to 1, nothing is clipped; the order
    of the scores stays, so no figure changes but by rounding.

    Confirmed in the benchmark's code (SegmentMeIfYouCan/road-anomaly-benchmark at 1c7804e): the
    path, the name `value`, float16, gzip 9, image size (a narrower map is enlarged there in one of
    two ways of evaluation only), that validation and test go to the folder of the whole track, and
    that LostAndFound-testNoKnown is read from LostAndFound-test. Confirmed on its submit page: the
    folder `outputs/anomaly_p/METHOD/AnomalyTrack-all` is what is handed in, on Codabench. Inferred:
    that Codabench takes this folder as a zip archive; its own page says which.

    Raises BenchmarkError for an unknown dataset, a method or frame name unfit for a file, a score
    that is not a finite [H, W] map, and one that float16 cannot hold or tell apart without `scale`.
    """
    if dataset not in OFFICIAL_SETS:
        raise BenchmarkError(
            f"{dataset}: not a dataset of SegmentMeIfYouCan; expected {', '.join(OFFICIAL_SETS)}"
        )
    if scale is not None and not (np.isfinite(scale).all() and scale[0] < scale[1]):
        raise BenchmarkError(f"scale {scale}: expected two finite numbers, low before high")
    official = OFFICIAL_SETS[dataset]
    folder = out / "anomaly_p" / _file_name(method, "method") / official.folder
    written: set[str] = set()
    for name, score in frames:
        frame = frame_id(name)
        if frame in written:
            raise BenchmarkError(
                f"frame {name}: a second one named {frame}; the benchmark knows frames by that name"
            )
        write_atomically(folder / f"{frame}.hdf5", _hdf5(_half(score, frame, scale)))
        written.add(frame)
    notes = []
    if len(written) < official.frames:
        notes.append(
            f"{len(written)} frames, but {dataset} is evaluated on {official.frames}: incomplete"
        )
    if scale is not None:
        notes.append(f"scores are mapped linearly: {scale[0]:g} to 0, {scale[1]:g} to 1")
    return Submission(folder, len(written), tuple(notes))


def frame_id(name: str) -> str:
    """How the benchmark names the frame: without folders, and without Lost and Found's suffix."""
    return _file_name(name.rsplit("/", 1)[-1].removesuffix("_leftImg8bit"), "frame")


def _file_name(name: str, what: str) -> str:
    if not re.fullmatch(r"[\w.+() -]+", name) or name.strip(". ") != name:
        raise BenchmarkError(
            f"{what} {name!r}: not fit for a file name; use letters, digits and . + ( ) - _"
        )
    return name


def _half(score: np.ndarray, frame: str, scale: tuple[float, float] | None) -> np.ndarray:
    """float16 [H, W] that still tells the frame's scores apart."""
    if score.ndim != 2 or not score.size or not np.issubdtype(score.dtype, np.floating):
        raise BenchmarkError(
            f"frame {frame}: score is {score.dtype} {list(score.shape)}, expected float [H, W]"
        )
    if not np.isfinite(score).all():
        count = int(np.count_nonzero(~np.isfinite(score)))
        raise BenchmarkError(
            f"frame {frame}: {count} scores are not finite; give pixels that were not looked at"
            " the lowest score"
        )
    values = score.astype(np.float64)
    if scale is not None:
        values = (values - scale[0]) / (scale[1] - scale[0])
    low, high = float(values.min()), float(values.max())
    mend = (
        "give scale=(low, high), which maps these to 0 and 1, or apply any increasing function"
        " beforehand: only the order of all frames' scores counts"
    )
    if max(-low, high) > FLOAT16_MAX:
        raise BenchmarkError(
            f"frame {frame}: scores reach from {low:g} to {high:g}, but float16 ends at"
            f" {FLOAT16_MAX:g}; {mend}"
        )
    half = values.astype(np.float16)
    sample = slice(None, None, -(-score.size // SAMPLED))
    lost = _tied_pairs(half.ravel()[sample]) - _tied_pairs(score.ravel()[sample])
    if lost > MAX_NEWLY_TIED:
        raise BenchmarkError(
            f"frame {frame}: scores between {low:g} and {high:g} lie too close for float16, which"
            f" makes {100 * lost:.0f} % of the pairs of pixels equal; {mend}"
        )
    return half


def _tied_pairs(values: np.ndarray) -> float:
    """Share of pairs of elements of [n] that are equal."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts**2).sum() / len(values) ** 2)


def _hdf5(values: np.ndarray) -> memoryview:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("value", data=values, compression="gzip", compression_opts=COMPRESSION)
    return stream.getbuffer()
