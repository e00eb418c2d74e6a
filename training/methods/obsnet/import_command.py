"""`python -m training import-weights obsnet`: its published networks become a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anomaly_seg_ros.bundle import Bundle
from training.checkpoint_bundle import (
    RULE,
    THRESHOLD,
    Origin,
    add_bundle_arguments,
    bundle_checkpoints,
    load_checkpoint,
    say,
)
from training.export import SAME_MATHS, Gate
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.published import PAIRS, Pair
from training.networks.segnet import SegNet
from training.weights import WeightsError

# Where two values of a pooling window are nearly equal, torch and ONNX Runtime may round another
# one up; unpooling then puts it on another pixel. No bound holds for such a pixel, so few they are.
UNPOOLING = Gate(label_agreement=0.99, score_mean_error=1e-3, score_max_error=1.0)
PAPER = "Besnier et al., Triggering Failures, ICCV 2021"
EXAMPLES = """example:
  python -m training import-weights obsnet --network segnet_camvid \\
      --segmentation segnet.pth --observer best.pth --out runs/obsnet_camvid
  anomaly-seg detect images/ --bundle runs/obsnet_camvid --out found/
"""


def add_parser(methods: Any) -> None:
    """Add the method `obsnet`."""
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
    add_bundle_arguments(verb, name="obsnet_NETWORK")
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
    say(bundle)
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
    segments, observes = (
        load_checkpoint(role, path, of, pair.trained)
        for role, path, of in (
            ("segmentation", segmentation, pair.segmentation),
            ("observer", observer, pair.observer),
        )
    )
    bundle = bundle_checkpoints(
        out,
        paper_stages(segments.network, observes.network, pair.trained),
        Origin("obsnet", PAPER, {"segmentation": segments, "observer": observes}),
        name=name or f"obsnet_{network}",
        size=(height, width),
        gate=UNPOOLING if isinstance(segments.network, SegNet) else SAME_MATHS,
    )
    (out / "MODEL_CARD.md").write_text(_model_card(bundle, network, pair), encoding="utf-8")
    return bundle


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
