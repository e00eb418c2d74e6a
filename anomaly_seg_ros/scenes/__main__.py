"""A contact sheet of scenes: `python -m anomaly_seg_ros.scenes --seed 7 --out sheet.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.classes import CITYSCAPES
from anomaly_seg_ros.scenes.sequence import RoadSequence, SceneFrame

EXAMPLE = """example:
  python -m anomaly_seg_ros.scenes --seed 7 8 9 --frames 0 40 --labels --out sheet.png"""


def main(arguments: list[str] | None = None) -> int:
    """Draw the sheet; returns 0."""
    parser = argparse.ArgumentParser(
        prog="python -m anomaly_seg_ros.scenes",
        description="Draw frames of procedural road scenes side by side: a row for each seed.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[7], help="seeds (default: 7)")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[0, 45, 90], help="frame numbers (0 45 90)"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        default=[240, 320],
        help="of each (240 320)",
    )
    parser.add_argument("--labels", action="store_true", help="labels beside each frame")
    parser.add_argument("--out", type=Path, required=True, help="picture to write (.png or .jpg)")
    given = parser.parse_args(arguments)
    rows = []
    for seed in given.seed:
        sequence = RoadSequence(seed, size=(given.size[0], given.size[1]))
        frames = [sequence.frame(index) for index in given.frames]
        rows.append(np.hstack([_shown(frame, given.labels) for frame in frames]))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(given.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)):
        parser.error(f"{given.out} was not written: expected a path that ends in .png or .jpg")
    print(given.out)
    return 0


def _shown(frame: SceneFrame, with_labels: bool) -> np.ndarray:
    if not with_labels:
        return frame.image
    palette = np.zeros((256, 3), np.uint8)
    for number, _, colour in CITYSCAPES:
        palette[number] = colour
    labels = palette[frame.labels]
    labels[frame.anomaly == 1] = (255, 255, 255)
    return np.hstack([frame.image, labels])


if __name__ == "__main__":
    raise SystemExit(main())
