"""`python -m training import-weights`: published checkpoints become a bundle."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from anomaly_seg_ros.bundle import Bundle, write_bundle
from anomaly_seg_ros.scenes import RoadSequence
from training.export import SAME_MATHS, Gate, export_stages
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.published import PAIRS, Pair, Trained
from training.networks.segnet import SegNet
from training.weights import WeightsError, build, read_checkpoint

# Where two values of a pooling window are nearly equal, torch and ONNX Runtime may round another
# one up; unpooling then puts it on another pixel. No bound holds for such a pixel, so few they are.
UNPOOLING = Gate(label_agreement=0.99, score_mean_error=1e-3, score_max_error=1.0)
PAPER = "Besnier et al., Triggering Failures, ICCV 2021"
THRESHOLD = 0.5
RULE = "not calibrated: the middle of the score's range"
SAMPLE_SCENES = (1, 2)  # seeds of the procedural scenes that the parity check runs on
SMALLEST = 32  # pixels: five poolings leave one
EXAMPLES = """example:
  python -m training import-weights obsnet --network segnet_camvid \\
      --segmentation segnet.pth --observer best.pth --out runs/obsnet_camvid
  anomaly-seg detect images/ --bundle runs/obsnet_camvid --out found/
"""


@dataclass(frozen=True)
class Checkpoint:
    """A file, and the network that its weights fill."""

    path: Path
    network: nn.Module

    def provenance(self) -> dict[str, str]:
        """Name and hash of the file, for bundle.yaml."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"file": self.path.name, "sha256": digest}


def add_parser(subparsers: Any) -> None:
    """Add the verb `import-weights` with its method `obsnet`."""
    parser = subparsers.add_parser("import-weights", help="published checkpoints become a bundle")
    methods = parser.add_subparsers(title="methods", metavar="METHOD", required=True)
    verb = methods.add_parser(
        "obsnet",
        help="segmentation and observer of ObsNet",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "--network", required=True, choices=PAIRS, metavar="PAIR", help=", ".join(PAIRS)
    )
    verb.add_argument("--segmentation", type=Path, required=True, help="checkpoint (.pth)")
    verb.add_argument("--observer", type=Path, required=True, help="checkpoint (.pth)")
    verb.add_argument("--out", type=Path, required=True, help="bundle folder")
    verb.add_argument(
        "--size", type=size_of, help="network input, HEIGHTxWIDTH (default: as it was trained)"
    )
    verb.add_argument("--name", help="of the bundle (default: obsnet_NETWORK)")
    verb.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Load both networks, export, write; returns 0."""
    bundle = import_obsnet(
        args.network,
        args.segmentation,
        args.observer,
        args.out,
        size=args.size,
        name=args.name,
    )
    total = sum(file.path.stat().st_size for stage in bundle.stages for file in stage.files)
    parity = bundle.stages[0].files[0].parity
    print(f"{bundle.folder}: {total / 1e6:.0f} MB, torch against ONNX Runtime: {parity}")
    print(f"threshold {THRESHOLD}, {RULE}")
    return 0


def import_obsnet(
    network: str,
    segmentation: Path,
    observer: Path,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    name: str | None = None,
) -> Bundle:
    """Write the bundle of a published pair of ObsNet, a row of `published.PAIRS`.

    segmentation, observer: checkpoint files. size: (H, W) of the network input. Raises WeightsError
    for files that do not fit, BundleError where the graphs do not answer as torch does.
    """
    pair = PAIRS[network]
    height, width = size or pair.trained.size
    if "small" in pair.observer and (height % 8 or width % 8):
        raise WeightsError(
            f"{network} cannot run at {height}x{width}: its observer enlarges three times by two, "
            "expected multiples of 8"
        )
    checkpoints = _checkpoints(pair, segmentation, observer)
    networks = [checkpoint.network for checkpoint in checkpoints.values()]
    images = [
        RoadSequence(seed, size=(height, width)).frame(10).image[None] for seed in SAMPLE_SCENES
    ]
    gate = UNPOOLING if isinstance(networks[0], SegNet) else SAME_MATHS
    with tempfile.TemporaryDirectory() as folder:
        stages = paper_stages(networks[0], networks[1], pair.trained)
        exported = export_stages(stages, images, Path(folder), gate=gate, rounded=False)
        description = describe(
            name or f"obsnet_{network}",
            pair.trained,
            (height, width),
            [stage.description for stage in exported],
            {role: checkpoint.provenance() for role, checkpoint in checkpoints.items()},
        )
        files = {stage.description["name"]: {"fp32": stage.file} for stage in exported}
        bundle = write_bundle(out, description=description, stage_files=files)
    (out / "MODEL_CARD.md").write_text(_model_card(bundle, network, pair), encoding="utf-8")
    return bundle


def _checkpoints(pair: Pair, segmentation: Path, observer: Path) -> dict[str, Checkpoint]:
    """Both networks, checked against each other and against the classes they were trained on."""
    loaded = {}
    expected = len(pair.trained.classes)
    for role, path, name in (
        ("segmentation", segmentation, pair.segmentation),
        ("observer", observer, pair.observer),
    ):
        try:
            network = build(name, read_checkpoint(path))
        except WeightsError as error:
            raise WeightsError(f"{role} {path}: {error}") from error
        classes = getattr(network, "classes", expected)
        if classes != expected:
            raise WeightsError(
                f"{role} {path} has {classes} classes, {pair.trained.name} has {expected}: choose "
                "the network that it was trained as"
            )
        loaded[role] = Checkpoint(path, network)
    return loaded


def describe(
    name: str,
    trained: Trained,
    size: tuple[int, int],
    stages: list[dict[str, Any]],
    checkpoints: dict[str, dict[str, str]],
) -> dict[str, Any]:
    """bundle.yaml of an imported ObsNet."""
    return {
        "format": 1,
        "name": name,
        "method": "obsnet",
        "paper": PAPER,
        "source": "published checkpoints, by python -m training import-weights",
        "input": {
            "height": size[0],
            "width": size[1],
            "fit": "squash",
            "resize": "bilinear",
            "antialias": True,
        },
        "classes": [
            {"id": i, "name": name, "color": list(colour), "drivable": name in trained.drivable}
            for i, (name, colour) in enumerate(trained.classes)
        ],
        "stages": stages,
        "score": {"display": [0.0, 1.0], "reference_quantiles": []},
        "operating_points": {
            "default": {
                "threshold": THRESHOLD,
                "rule": RULE,
                "data": "none",
                "focus": "everywhere",
            }
        },
        "provenance": {
            "checkpoints": checkpoints,
            "data": [f"{trained.name}, by its publishers"],
            "data_licences": [f"{trained.name}: {trained.licence}"],
            "weights_licence": "not stated by their publishers",
        },
    }


def _model_card(bundle: Bundle, network: str, pair: Pair) -> str:
    trained_at = "x".join(map(str, pair.trained.size))
    return f"""# {bundle.name}

ObsNet ({PAPER}) from published checkpoints, network `{network}`, trained on {pair.trained.name}
at {trained_at}; runs at {bundle.input.height}x{bundle.input.width}.

Score: how surely, 0..1, the observer holds the segmentation for wrong at a pixel. Unknown objects
are among the errors, and so are ordinary confusions of classes. It is no calibrated probability:
training weighted errors up.

Threshold {THRESHOLD}: {RULE}. Nothing was measured on this
bundle: choose a threshold on your own frames before you rely on it.

Weights and data carry the terms of their publishers (`provenance` in bundle.yaml).
"""


def size_of(text: str) -> tuple[int, int]:
    """ "360x480" -> (360, 480). Raises argparse.ArgumentTypeError for anything else."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; expected HEIGHTxWIDTH of at least {SMALLEST} each, as 360x480"
        )
    return int(height), int(width)
