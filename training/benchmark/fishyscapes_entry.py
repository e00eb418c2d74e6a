"""What the Fishyscapes benchmark runs: its images in, score and class maps out.

The benchmark starts an Apptainer container (see fishyscapes.def) without arguments, with its
images under /input, named `DDDD_*.png`, and takes `DDDD_anomaly.npy` and `DDDD_segmentation.npy`
from /output (https://fishyscapes.com/submission).
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from pathlib import Path

import numpy as np

from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, NOT_LOOKED, Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import AnomalySegError, EncodingError
from anomaly_seg_ros.replay.detection import bundle_hash
from anomaly_seg_ros.replay.images import decode_image
from anomaly_seg_ros.replay.progress import Progress, no_progress, progress_bar
from anomaly_seg_ros.replay.writers import write_atomically
from training.benchmark.results import BenchmarkError
from training.data.label_spaces import CITYSCAPES

UNKNOWN = 19  # the benchmark allows classes 0 to 19; 0 to 18 are the train ids of Cityscapes
NAME = re.compile(r"(\d{4})_.*\.png", re.IGNORECASE)
MARKER = "run.json"  # in the output: which bundle made it
LISTED = 5  # odd names that an error shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`; without any it does what the benchmark expects."""
    folders = parser.add_argument_group("folders")
    folders.add_argument("--input", type=Path, default=Path("/input"), metavar="DIR")
    folders.add_argument("--output", type=Path, default=Path("/output"), metavar="DIR")
    runner = parser.add_argument_group("detector")
    runner.add_argument("--bundle", default=DEFAULT_BUNDLE, help="shipped name or folder")
    runner.add_argument("--backend", default="auto", help="auto or a backend's name")
    runner.add_argument("--device", default=None, help="of the backend, for example cuda:0")
    runner.add_argument("--precision", default="fp32", help="fp32, fp16 or int8 (default: fp32)")
    runner.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads")


def run(args: argparse.Namespace) -> int:
    """Write the maps of every image in args.input to args.output; returns 0.

    A run that was stopped goes on where it ended, with another bundle it starts anew.
    Raises AnomalySegError.
    """
    images = input_images(args.input)
    with Detector(
        args.bundle,
        args.backend,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
    ) as detector:
        done = write_maps(detector, images, args.output, progress=progress_bar)
    print(f"{done} of {len(images)} images done now, the others before; maps in {args.output}")
    return 0


def input_images(folder: Path) -> dict[str, Path]:
    """Images by their four digits, in order. Raises BenchmarkError listing what does not fit."""
    if not folder.is_dir():
        raise BenchmarkError(f"{folder}: no such folder; expected one of images DDDD_*.png")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
    images: dict[str, Path] = {}
    odd = []
    for path in files:
        match = NAME.fullmatch(path.name)
        if match is None:
            odd.append(f"{path.name}: does not start with four digits and _")
        elif match[1] in images:
            odd.append(f"{path.name}: same number as {images[match[1]].name}")
        else:
            images[match[1]] = path
    if odd or not images:
        found = "; ".join(odd[:LISTED]) + (f"; and {len(odd) - LISTED} more" * (len(odd) > LISTED))
        raise BenchmarkError(
            f"{folder}: expected images named DDDD_*.png, one per number; found"
            f" {found or f'none among {sum(1 for _ in folder.iterdir())} entries'}"
        )
    return images


def write_maps(
    detector: Detector,
    images: dict[str, Path],
    output: Path,
    *,
    progress: Progress = no_progress,
) -> int:
    """Write score float32 [H, W] and class uint8 [H, W] per image; returns how many were due."""
    train_ids = train_id_table(detector.bundle)
    _mark(output, detector)
    due = {number: path for number, path in images.items() if not _complete(output, number)}
    with progress("images", len(images), len(images) - len(due)) as advance:
        for number, path in due.items():
            score, classes = _maps(detector, path, train_ids)
            write_atomically(output / f"{number}_segmentation.npy", _npy(classes))
            write_atomically(output / f"{number}_anomaly.npy", _npy(score))
            advance()
    return len(due)


def train_id_table(bundle: Bundle) -> np.ndarray:
    """uint8 [256]: the Cityscapes train id of each class id, by name; UNKNOWN for the others.

    Raises BenchmarkError for a bundle none of whose classes is one of Cityscapes.
    """
    train_ids = {_plain(name): train_id for train_id, name in enumerate(CITYSCAPES.names)}
    table = np.full(256, UNKNOWN, np.uint8)
    names = bundle.class_names()
    for class_id, name in names.items():
        if class_id != NOT_LOOKED:
            table[class_id] = train_ids.get(_plain(name), UNKNOWN)
    if (table == UNKNOWN).all():
        raise BenchmarkError(
            f"bundle {bundle.name}: none of its classes ({', '.join(names.values())})"
            f" is one of Cityscapes ({', '.join(CITYSCAPES.names)})"
        )
    return table


def _plain(name: str) -> str:
    """Name without what bundles and data sets write differently: traffic_light, light."""
    return re.sub(r"[^a-z]", "", name.lower()).removeprefix("traffic")


def _maps(detector: Detector, path: Path, train_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score float32 and class uint8, both [H, W] of the image."""
    try:
        image = decode_image(path.read_bytes())
    except (OSError, EncodingError) as error:
        raise BenchmarkError(f"{path}: {error}") from error
    found = detector.detect(image, wanted=("score", "labels"))[0]
    assert found.score is not None and found.labels is not None
    unseen = np.isnan(found.score)
    if unseen.any():  # the benchmark sorts all pixels: those not looked at are the least anomalous
        found.score[unseen] = found.score[~unseen].min()
    return found.score, train_ids[found.labels]


def _mark(output: Path, detector: Detector) -> None:
    """Note which detector writes here; what another one left is deleted."""
    engine = detector.runner.describe()
    text = json.dumps(
        {
            "bundle": detector.bundle.name,
            "hash": bundle_hash(detector.bundle.folder),
            "backend": engine.backend,
            "precision": engine.precision,
        }
    )
    marker = output / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == text:
        return
    for kind in ("anomaly", "segmentation"):
        for old in output.glob(f"[0-9][0-9][0-9][0-9]_{kind}.npy"):
            old.unlink()
    write_atomically(marker, text.encode())


def _complete(output: Path, number: str) -> bool:
    return all((output / f"{number}_{kind}.npy").is_file() for kind in ("segmentation", "anomaly"))


def _npy(values: np.ndarray) -> memoryview:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getbuffer()


def main(arguments: list[str] | None = None) -> int:
    """Run as the container does; 2 and one line on stderr for what cannot be done."""
    parser = argparse.ArgumentParser(description="Anomaly and class maps for Fishyscapes.")
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except AnomalySegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
