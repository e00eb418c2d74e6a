"""Options that several verbs share: what to read, and which detector."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_seg_ros.bundle import Bundle
    from anomaly_seg_ros.detector import Detector
    from anomaly_seg_ros.replay.evaluation import EvaluateOptions

INPUT_HELP = (
    "image, folder of images, video, ROS 2 bag (folder, .mcap, .db3), ROS 1 .bag, or"
    ' "scenes:SEED[:FRAMES]" for drawn roads'
)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """INPUT and --topic."""
    parser.add_argument("input", metavar="INPUT", help=INPUT_HELP)
    parser.add_argument(
        "--topic", default=None, help="image topic of a bag (needed where it has several)"
    )


def add_runner_options(group: argparse._ActionsContainer) -> None:
    """Which bundle runs on what, and its operating point."""
    group.add_argument(
        "--bundle",
        default=None,
        metavar="NAME",
        help="shipped bundle or folder (default: the shipped default)",
    )
    group.add_argument(
        "--backend", default="auto", help="auto or a backend's name (default: %(default)s)"
    )
    group.add_argument("--device", default=None, help="of the backend, for example cuda:0")
    group.add_argument("--precision", default="fp32", help="fp32, fp16, int8, fp32_strict")
    group.add_argument(
        "--threads", type=positive_int, default=None, metavar="N", help="CPU threads"
    )
    group.add_argument(
        "--operating-point",
        default="default",
        metavar="NAME",
        help="threshold by name, see `anomaly-seg bundle info` (default: %(default)s)",
    )


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Bundle, backend and operating point."""
    group = parser.add_argument_group("detector")
    add_runner_options(group)
    group.add_argument(
        "--threshold", type=float, default=None, help="score threshold instead of the named one"
    )
    group.add_argument(
        "--focus",
        choices=("everywhere", "road"),
        default=None,
        help="where the mask looks (default: as the operating point says)",
    )
    group.add_argument(
        "--class-map",
        type=Path,
        default=None,
        metavar="YAML",
        help="your own classes in place of the network's, see docs/ros_interface.md",
    )
    group.add_argument(
        "--region",
        type=Path,
        default=None,
        metavar="PNG",
        help="gray picture of the camera's size: anomalies count where it is not 0",
    )


def add_label_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """--labels, how they pair and what their values mean."""
    parser.add_argument(
        "--labels",
        required=required,
        default=None,
        metavar="DIR_OR_TOPIC",
        help='folder of label pictures, label topic of the bag, or "scenes" for drawn scenes',
    )
    parser.add_argument(
        "--pair",
        choices=("auto", "stem", "number", "order", "stamp"),
        default="auto",
        help="how label files and frames belong together (default: %(default)s)",
    )
    parser.add_argument(
        "--label-suffix",
        default="",
        metavar="TEXT",
        help="what label stems have after the image's stem, for example _labels",
    )
    parser.add_argument(
        "--map",
        default=None,
        metavar="V:M,...",
        help='meaning of other label values: "12:1,11:255,*:0"',
    )
    parser.add_argument(
        "--resize-labels",
        action="store_true",
        help="fit labels of another size than their frame (nearest), and say so",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="keep every score (4 bytes a labelled pixel) instead of bins with stated errors",
    )


def label_topics(args: argparse.Namespace) -> tuple[str, ...]:
    """The topics that hold labels: image topics too, but not the camera's."""
    if not args.labels or Path(args.labels).is_dir():
        return ()
    return args.labels, f"/{args.labels}"


def evaluate_options(args: argparse.Namespace) -> EvaluateOptions:
    """What the options of add_label_options, --limit and --region say. Raises ReplayError."""
    from anomaly_seg_ros.replay.evaluation import EvaluateOptions
    from anomaly_seg_ros.replay.labels import LabelMap

    return EvaluateOptions(
        limit=args.limit,
        resize_labels=args.resize_labels,
        exact=args.exact,
        region=str(args.region or ""),
        label_map=LabelMap.parse(args.map) if args.map else LabelMap(),
    )


def open_bundle(args: argparse.Namespace) -> Bundle:
    """The bundle that --bundle names, with the classes of --class-map. Raises BundleError."""
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle

    bundle = Bundle.open(args.bundle or DEFAULT_BUNDLE)
    return bundle.with_classes(args.class_map) if args.class_map else bundle


def add_size_option(parser: argparse.ArgumentParser) -> None:
    """--size of the camera images that a measurement makes."""
    parser.add_argument(
        "--size",
        type=camera_size,
        default=(480, 640),
        metavar="HxW",
        help="of the camera image (default: 480x640)",
    )


def open_detector(args: argparse.Namespace) -> Detector:
    """The detector that the options of add_detector_options describe. Raises AnomalySegError."""
    from anomaly_seg_ros.detector import Detector

    return Detector(
        open_bundle(args),
        args.backend,
        args.operating_point,
        region=args.region,
        threshold=args.threshold,
        focus=args.focus,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
    )


def region_identity(region: Path | None) -> str:
    """What tells regions of interest apart; the detector has read the file before."""
    return hashlib.sha256(region.read_bytes()).hexdigest()[:16] if region else ""


def positive_int(text: str) -> int:
    """An argparse type: a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def camera_size(text: str) -> tuple[int, int]:
    """An argparse type: "480x640" as (height, width), 32 pixels or more each."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 480x640")
    if min(int(height), int(width)) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is below 32x32")
    return int(height), int(width)
