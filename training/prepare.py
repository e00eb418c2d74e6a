"""`python -m training prepare`: datasets that are made, not downloaded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from anomaly_seg_ros.scenes import RoadSequence

SCENE_SIZE = (384, 640)
FIRST_SEED = {"train": 0, "val": 100_000}  # far apart: no scene is in both
SEQUENCES = {"train": 120, "val": 30}
FRAMES = {"train": (0, 20, 45), "val": (10,)}  # of each sequence, at 15 frames/s
EXAMPLES = """example:
  python -m training prepare procedural ../data
Renders what is missing: a stopped run goes on with the same command.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `prepare`."""
    parser = subparsers.add_parser(
        "prepare",
        help="make a dataset: procedural scenes",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(PREPARATIONS))
    parser.add_argument("root", type=Path, help="folder that holds the datasets")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Prepare; returns 0."""
    PREPARATIONS[args.name](args.root, args.workers)
    return 0


def procedural(root: Path, workers: int) -> None:
    """Render scenes to root/procedural/{train,val} and {train,val}annot."""
    for split, count in SEQUENCES.items():
        folders = [root / "procedural" / split, root / "procedural" / f"{split}annot"]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        render = partial(_render_sequence, folders[0], folders[1], FRAMES[split])
        seeds = range(FIRST_SEED[split], FIRST_SEED[split] + count)
        with ProcessPoolExecutor(workers) as pool:
            list(tqdm(pool.map(render, seeds), total=count, desc=f"procedural {split}"))


def _render_sequence(images: Path, labels: Path, frames: tuple[int, ...], seed: int) -> None:
    cv2.setNumThreads(1)
    names = [f"{seed:06d}_{index:03d}" for index in frames]
    # The image is written last: where it is, its label is whole.
    if all((images / f"{name}.jpg").is_file() for name in names):
        return
    sequence = RoadSequence(seed, size=SCENE_SIZE, anomalies=False)
    for name, index in zip(names, frames, strict=True):
        frame = sequence.frame(index)
        cv2.imwrite(str(labels / f"{name}.png"), frame.labels)
        draft = images / f".{name}.jpg"
        cv2.imwrite(
            str(draft),
            cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, 92],
        )
        draft.replace(images / f"{name}.jpg")


PREPARATIONS: dict[str, Callable[[Path, int], None]] = {"procedural": procedural}
