"""`python -m training export`: a checkpoint, or a bundle at another input size, becomes a bundle.

Thresholds are chosen on frames that neither training saw nor the reported sets hold: CamVid val,
IDD-Lite val and procedural scenes of other seeds, and for recall CamVid val with pasted objects of
the cut-outs' val split.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from anomaly_seg_ros.backends.base import choose_file
from anomaly_seg_ros.bundle import Bundle, write_bundle
from anomaly_seg_ros.calibration import MIN_REGION, DriveCounts, candidate_thresholds
from anomaly_seg_ros.classes import CITYSCAPES
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.metrics import ANOMALY, KNOWN, VOID, FrameResult, ScoreHistogram
from anomaly_seg_ros.score_quantiles import histogram_quantiles
from training.bundle_networks import bundle_stages
from training.checkpoint_bundle import size_of
from training.checkpoints import open_stages
from training.data.camvid import camvid
from training.data.catalogue import open_dataset
from training.data.idd_lite import idd_lite
from training.data.procedural import procedural
from training.export import export_stages
from training.released import Released, released

ROAD = 0
# Name, focus and the false regions per frame that are let through on the calibration frames.
ALARM_POINTS = (
    ("default", "road", 0.02),
    ("sensitive", "road", 0.3),
    ("everywhere", "everywhere", 0.05),
)
NORMAL = "CamVid val, IDD-Lite val and procedural scenes, without unknown objects"
UNKNOWN = "CamVid val with pasted objects of the cut-outs' val split"
EXAMPLES = """examples:
  python -m training export --checkpoint runs/joint/final.ckpt --data ../data \\
      --out anomaly_seg_ros/bundles/street_obsnet_lite
  python -m training export --bundle street_obsnet_lite --size 512x1024 --data ../data \\
      --out runs/street_obsnet_lite_512
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `export`."""
    parser = subparsers.add_parser(
        "export",
        help="a checkpoint of a light chain, or a shipped bundle, becomes a bundle",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="of `python -m training fit`")
    source.add_argument(
        "--bundle", help="shipped name or folder: the same weights at another --size or --fit"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the datasets")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument(
        "--size", type=size_of, help="network input, HEIGHTxWIDTH (default: as its kind is shipped)"
    )
    parser.add_argument("--fit", default="squash", choices=("squash", "letterbox", "crop"))
    parser.add_argument("--every", type=int, default=1, help="calibrate on each n-th frame")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Export, calibrate, write; returns 0."""
    source = None if args.bundle is None else Bundle.open(args.bundle)
    stages = open_stages(args.checkpoint) if source is None else bundle_stages(source)
    kind = released(stages)
    height, width = args.size or kind.size
    frames = camvid(args.data, "val")
    images = [
        cv2.resize(frames.read(index)[0], (width, height))[None] for index in range(0, 100, 20)
    ]
    with tempfile.TemporaryDirectory() as folder:
        exported = export_stages(stages, images, Path(folder))
        files = {stage.description["name"]: {"fp32": stage.file} for stage in exported}
        made = [stage.description for stage in exported]
        description = describe(kind, made, (height, width), args.fit)
        if source is not None:
            description["provenance"] = exported_again(source)
        draft = write_bundle(Path(folder) / "draft", description=description, stage_files=files)
        points, quantiles = calibrate(draft, args.data, args.every)
        description["operating_points"] = points
        description["score"]["reference_quantiles"] = quantiles
        bundle = write_bundle(args.out, description=description, stage_files=files)
    size = sum(file.path.stat().st_size for stage in bundle.stages for file in stage.files)
    print(f"{bundle.folder}: {size / 1e6:.1f} MB, parity {exported[0].description['files'][0]}")
    print(json.dumps(points, indent=2))
    return 0


def describe(
    kind: Released, stages: list[dict[str, Any]], size: tuple[int, int], fit: str
) -> dict[str, Any]:
    """bundle.yaml of a shipped model, with a threshold that calibration replaces."""
    return {
        "format": 1,
        "name": kind.name,
        "method": kind.method,
        "paper": kind.paper,
        "source": f"trained by training/configs/{kind.config}.yaml of this project",
        "input": {
            "height": size[0],
            "width": size[1],
            "fit": fit,
            "resize": "bilinear",
            "antialias": True,
        },
        "classes": [
            {"id": id_, "name": name, "color": list(colour), "drivable": id_ == ROAD}
            for id_, name, colour in CITYSCAPES
        ],
        "stages": stages,
        "score": {"display": [0.0, 1.0], "reference_quantiles": []},
        "operating_points": {
            "default": {"threshold": 0.5, "rule": "draft", "data": "none", "focus": "road"}
        },
        "provenance": {
            "commit": _commit(),
            "seed": 0,
            "data": list(kind.data),
            "data_licences": list(kind.licences),
        },
    }


def exported_again(bundle: Bundle) -> dict[str, Any]:
    """Provenance of the bundle that the weights come from, with the SHA-256 of its graphs."""
    graphs = {
        stage.name: choose_file(stage, "fp32", "onnxruntime-cpu").sha256 for stage in bundle.stages
    }
    return {**bundle.provenance, "weights_of": {"bundle": bundle.name, "graphs": graphs}}


def calibrate(
    bundle: Bundle, data: Path, every: int
) -> tuple[dict[str, dict[str, Any]], list[float]]:
    """Operating points and reference quantiles of the score."""
    detector = Detector(bundle, backend="onnxruntime")
    unknown = ScoreHistogram()
    pasted = open_dataset("camvid_pasted/val", data)
    for index in tqdm(range(len(pasted.names)), desc=f"calibrate on {pasted.title}"):
        sample = pasted.read(index)
        score = detector.detect(sample.image, wanted=("score",))[0].score
        assert score is not None  # it was wanted
        # Of unknown objects only: all else is void.
        label = np.where(sample.anomaly == ANOMALY, np.uint8(KNOWN), np.uint8(VOID))
        unknown.update(FrameResult(score, label))
    counts = DriveCounts(
        detector,
        candidate_thresholds(*bundle.score_display),
        sorted({focus for _, focus, _ in ALARM_POINTS}),
        MIN_REGION,
    )
    for image in _normal_frames(data, every):
        counts.update(image)
    detector.close()
    points = {}
    for name, focus, limit in ALARM_POINTS:
        curve = counts.curve(focus)
        chosen = curve.smallest(limit)
        # Above every score of 0..1 where no candidate is enough.
        threshold = 1.0 if chosen is None else float(curve.thresholds[chosen])
        rate = 0.0 if chosen is None else curve.regions[chosen] / curve.frames
        points[name] = {
            "threshold": threshold,
            "rule": f"{100 * rate:.1f} false regions of {MIN_REGION} px or more per 100 frames",
            "data": NORMAL,
            "focus": focus,
        }
    for name, share in (("fpr01", 0.01), ("fpr05", 0.05)):
        points[name] = {
            "threshold": counts.quantiles((1 - share,))[0],
            "rule": f"{share:.0%} of normal pixels pass",
            "data": NORMAL,
            "focus": "everywhere",
        }
    points["tpr95"] = {
        "threshold": round(float(histogram_quantiles(unknown, (0.05,))[0]), 6),
        "rule": "95% of the pixels of unknown objects pass",
        "data": UNKNOWN,
        "focus": "everywhere",
    }
    return points, counts.quantiles()


def _normal_frames(data: Path, every: int) -> Iterable[np.ndarray]:
    for frames in (camvid(data, "val"), idd_lite(data, "val"), procedural(data, "val")):
        for index in tqdm(range(0, frames.count, every), desc=f"calibrate on {frames.name}"):
            yield frames.read(index)[0]


def _commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"
