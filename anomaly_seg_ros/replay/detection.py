"""The detector over a whole recording, with results on disk; a run that was stopped is resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.bag_writer import OUTPUTS
from anomaly_seg_ros.replay.bags import BagSource
from anomaly_seg_ros.replay.detection_run import DetectionRun, DetectOptions
from anomaly_seg_ros.replay.manifest import MANIFEST_NAME, Manifest
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.sources import Source
from anomaly_seg_ros.replay.writers import FrameWriter, write_atomically

OUTPUT_NAMES = (  # all that a run leaves in its folder
    *("overlays", "panels", "scores", "masks", "labels", "synthesis", "parts"),
    *("overlay.mp4", "result_bag"),
    *("report.json", MANIFEST_NAME, ".overlay.part.mp4", ".result_bag.part"),
)


def replay(
    source: Source,
    detector: Detector,
    out: Path,
    options: DetectOptions,
    *,
    region: str = "",
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run the detector over a recording and keep the results below `out`.

    A second call with the same recording and settings does only what is missing. `region` is the
    identity of the region of interest the detector was made with. With `overwrite` the results of
    an earlier run are deleted first. Returns what report.json holds.
    Raises ReplayError when nothing could be read, nothing can be written, the bundle does not make
    what is to be saved, or `out` holds the results of other settings.
    """
    if SYNTHESIS in options.save and SYNTHESIS not in detector.bundle.outputs():
        raise ReplayError(
            f"cannot save {SYNTHESIS}: bundle {detector.bundle.name} makes only "
            f"{', '.join(detector.bundle.outputs())}. Leave it out, or take a bundle that makes it."
        )
    kinds = _frame_kinds(options.save)
    if isinstance(source, BagSource):
        source.keep_messages = "bag" in options.save
        if "bag" in options.save and source.topic in {topic for topic, _ in OUTPUTS.values()}:
            raise ReplayError(f"{source.topic} is a result topic; choose the camera's with --topic")
    if overwrite:
        remove_results(out)
    writer = FrameWriter(out, kinds, options.score)
    with Manifest(out, run_settings(source, detector, options, region)) as manifest:
        writer.prepare()
        run = DetectionRun(source, detector, options, writer, manifest)
        run.frames(progress)
        records = run.selected()
        products = run.products(records, progress)
        report = run.report(records, products)
        write_atomically(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
        shutil.rmtree(out / "parts", ignore_errors=True)
    if not records:
        reasons = [entry["reason"] for entry in report["bad_frames"]] or ["it holds none"]
        raise ReplayError(
            f"{source.describe().path}: not one frame could be processed. First reason:"
            f" {reasons[0]}"
        )
    return report


def run_settings(
    source: Source, detector: Detector, options: DetectOptions, region: str
) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    point = detector.operating_point
    info = detector.runner.describe()
    form = options.score
    class_map = detector.bundle.class_map
    return {
        "input": source.describe().identity,
        "bundle": detector.bundle.name,
        "bundle_hash": bundle_hash(detector.bundle.folder),
        "backend": info.backend,
        "precision": info.precision,
        "operating_point": point.name,
        "threshold": float(detector.threshold),
        "focus": point.focus,
        "min_region": point.min_region,
        "region": region,
        "class_map": class_map.identity if class_map else "",
        "every": options.every,
        "score_format": form.kind,
        "score_range": [form.low, form.high] if form.kind == "png16" else None,
    }


def bundle_hash(folder: Path) -> str:
    """Hash of bundle.yaml, which holds the hashes of all other files of the bundle."""
    return hashlib.sha256((folder / "bundle.yaml").read_bytes()).hexdigest()[:16]


def remove_results(out: Path) -> None:
    """Delete what an earlier run left in `out`, and nothing else. Raises ReplayError."""
    if not out.exists():
        return
    if not (out / MANIFEST_NAME).exists() and any(out.iterdir()):
        raise ReplayError(
            f"{out} holds no {MANIFEST_NAME}: it was not made by this command and is left alone."
            " Choose another --out."
        )
    for name in OUTPUT_NAMES:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _frame_kinds(save: frozenset[str]) -> frozenset[str]:
    """Files each frame must leave for what is to be saved."""
    kinds = save - {"video"}
    return kinds | {"overlay_part"} if "video" in save and "overlay" not in save else kinds
