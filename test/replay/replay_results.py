"""Run a replay and read back everything it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.replay import open_source
from anomaly_seg_ros.replay.detection import replay
from anomaly_seg_ros.replay.detection_run import DetectOptions


def run(path: Path | str, detector: Detector, out: Path, **options: Any) -> dict[str, Any]:
    with open_source(path) as source:
        return replay(source, detector, out, DetectOptions(**options))


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """File name -> pixels; RGB."""
    read = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in folder.glob("*.png")}
    return {name: image[..., ::-1] if image.ndim == 3 else image for name, image in read.items()}


def film(path: Path) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


def messages(folder: Path) -> list[tuple[str, str, int, bytes]]:
    with AnyReader([folder]) as bag:
        return [(c.topic, c.msgtype, stamp, bytes(data)) for c, stamp, data in bag.messages()]


def everything(out: Path) -> dict[str, Any]:
    """All results but times."""
    found: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("overlays", "panels", "scores", "masks", "labels", "synthesis")
        if (out / folder).exists()
        for path in sorted((out / folder).iterdir())
    }
    report = json.loads((out / "report.json").read_text())
    report.pop("seconds")
    found["report"] = report
    found["film"] = [image.tobytes() for image in film(out / "overlay.mp4")]
    found["bag"] = messages(out / "result_bag")
    return found


def all_files(out: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in out.rglob("*") if path.is_file()}
