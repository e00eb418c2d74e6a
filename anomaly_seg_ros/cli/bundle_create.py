"""`anomaly-seg bundle create`: a bundle of the user's own network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.cli.options import camera_size

if TYPE_CHECKING:
    from anomaly_seg_ros.creation.create import Created

COMMAND = "anomaly-seg bundle create"
EPILOG = """The network takes one image and gives class scores before softmax for every pixel of
some grid. The bundle's graph casts and normalises the image, holds the network, and adds labels
(ArgMax) and the score. Nothing is trained. The result is run on two drawn road scenes and must
equal what the network's own file computes there.

classes (--classes):
  cityscapes, camvid, or a file with a class for each output channel: a name per line; or lines
  id,name[,r,g,b[,drivable]]; or yaml, a list of names or of {id, name, color, drivable}, also as
  `classes:` of another bundle. Without colours, some are made.

scores (--score), higher is more anomalous:
  max_logit    minus the largest logit              entropy    -sum p ln p / ln C
  max_softmax  1 - the largest probability          energy     -ln sum exp(logit)
  margin       1 - (p1 - p2)                        output:NAME  what the network itself computes

examples:
  anomaly-seg bundle create pidnet.onnx --classes cityscapes --score max_logit --out my_bundle \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  anomaly-seg bundle create net.onnx --classes names.txt --score energy --out my_bundle \\
      --input 512x1024 --channels bgr --range 0..255 --mean 104,117,123
  anomaly-seg bundle create net.onnx --classes camvid --score output:uncertainty --out my_bundle
"""


def add_parser(verbs: Any) -> None:
    """Add `create` to the verbs of `bundle`."""
    parser = verbs.add_parser(
        "create",
        help="make a bundle of your own ONNX network",
        description="Make a bundle of your own segmentation network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL.onnx", type=Path)
    parser.add_argument("--classes", required=True, metavar="FILE", help="see below")
    parser.add_argument("--score", required=True, metavar="RULE", help="see below")
    parser.add_argument("--out", required=True, type=Path, metavar="BUNDLE", help="folder")
    parser.add_argument("--name", help="of the bundle (default: as the model's file)")
    parser.add_argument(
        "--threshold",
        type=float,
        help="score of the default operating point (default: a first guess)",
    )
    parser.add_argument(
        "--logits", metavar="OUTPUT", help="tensor with the class scores, where several could be"
    )
    image = parser.add_argument_group("image", "what the network wants")
    image.add_argument(
        "--input", type=camera_size, metavar="HxW", help="size, where the graph leaves it open"
    )
    image.add_argument(
        "--mean", type=triple, default=(0.0, 0.0, 0.0), metavar="M", help="one number or three"
    )
    image.add_argument(
        "--std", type=triple, default=(1.0, 1.0, 1.0), metavar="S", help="one number or three"
    )
    image.add_argument(
        "--range",
        choices=("0..1", "0..255"),
        default="0..1",
        help="of the pixels that mean and std are meant for (default: %(default)s)",
    )
    image.add_argument(
        "--layout", choices=("nchw", "nhwc"), default="nchw", help="default: %(default)s"
    )
    image.add_argument(
        "--channels",
        choices=("rgb", "bgr"),
        default="rgb",
        help="order, also of mean and std (default: %(default)s)",
    )
    image.add_argument(
        "--fit",
        choices=("squash", "letterbox", "crop"),
        default="squash",
        help="how a camera image of another shape becomes the input (default: %(default)s)",
    )
    parser.set_defaults(handler=run_create)


def run_create(args: argparse.Namespace) -> int:
    """Make the bundle and print what became of it. Raises AnomalySegError."""
    from anomaly_seg_ros.onnx_package import need_onnx

    need_onnx(COMMAND)
    from anomaly_seg_ros.creation.classes import read_classes
    from anomaly_seg_ros.creation.create import create_bundle
    from anomaly_seg_ros.creation.options import Preprocessing, Wishes

    preprocessing = Preprocessing(args.layout, args.channels, args.range, args.mean, args.std)
    wishes = Wishes(
        args.score, args.input, preprocessing, args.fit, args.name, args.threshold, args.logits
    )
    created = create_bundle(args.model, args.out, read_classes(args.classes), wishes)
    print("\n".join(_lines(created)))
    return 0


def _lines(created: Created) -> list[str]:
    from anomaly_seg_ros.cli.bundle import table

    bundle, network, chosen = created.bundle, created.network, created.chosen
    point = bundle.operating_points["default"]
    opset = f"opset {network.opset}"
    if created.opset != network.opset:
        opset += f", brought to {created.opset}"
    drivable = [entry.name for entry in bundle.classes if entry.drivable]
    rows = [
        ("  network", f"{network.path.name}, {opset}"),
        ("  image", f"{network.size[0]} x {network.size[1]}, {bundle.input.fit}"),
        ("  it gets", str(network.preprocessing)),
        ("  labels", _labels(created)),
        ("  classes", f"{len(bundle.classes)}, drivable: {', '.join(drivable) or 'none'}"),
        ("  score", f"{bundle.method}" + (f" {chosen.score}" if chosen.score else "")),
        ("  threshold", f"{point.threshold:g} ({point.rule})"),
        ("  parity", ", ".join(f"{key} {value:g}" for key, value in created.parity.items())),
    ]
    notes = [f"note: {note}" for note in created.notes]
    following = f"next: anomaly-seg bundle check {bundle.folder} --target tensorrt"
    return [f"{bundle.folder}: bundle {bundle.name}", *table(rows), *notes, following]


def _labels(created: Created) -> str:
    outputs = created.bundle.outputs()
    if created.chosen.logits is None:
        return f"class ids of {created.chosen.labels}, {outputs['labels']}"
    return f"largest of {created.chosen.logits}, {outputs['logits']}"


def triple(text: str) -> tuple[float, float, float]:
    """An argparse type: one number for all channels, or three with commas between."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not one number or three, as 0.5,0.5,0.5")
    if len(numbers) == 1:
        numbers *= 3
    return numbers[0], numbers[1], numbers[2]
