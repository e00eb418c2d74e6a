"""`python -m training import-weights image_resynthesis`: its networks become a bundle.

Each of them may be published, or a checkpoint of `python -m training fit`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomaly_seg_ros.bundle import Bundle
from training.checkpoint_bundle import (
    PUBLISHERS,
    RULE,
    THRESHOLD,
    Checkpoint,
    Origin,
    add_bundle_arguments,
    bundle_checkpoints,
    load_checkpoint,
    say,
)
from training.export import Gate
from training.methods.image_resynthesis.paper_pipeline import SynthesisScaling, paper_stages
from training.methods.image_resynthesis.published import (
    BDD100K,
    DISCREPANCIES,
    GENERATOR,
    SEGMENTATIONS,
    SWAPPED_CITYSCAPES,
)
from training.methods.image_resynthesis.trained_checkpoints import (
    trained_discrepancy,
    trained_generator,
    trained_segmentation,
)
from training.weights import WeightsError

# Instance norm carries a label that flips at a near-tie into every pixel of the synthesis.
FLIPS_SPREAD = Gate(label_agreement=0.999, score_mean_error=1e-3, score_max_error=0.1)
PAPER = "Lis et al., Detecting the Unexpected via Image Resynthesis, ICCV 2019"
VARIANTS = {
    "full": "image, synthesis and labels",
    "labels_only": "image and labels: no generator, the cheap choice",
    "generated_only": "image and synthesis",
}
EXAMPLES = """examples:
  python -m training import-weights image_resynthesis --network pspnet \\
      --segmentation 0121_PSPEns_BDD_00/chk_best.pth --resynthesis latest_net_G.pth \\
      --dissimilarity 0521_Diff_SwapFgd_ImgAndLabelVsGen_semGT/chk_best.pth \\
      --out runs/image_resynthesis
  python -m training import-weights image_resynthesis --network bayes_segnet \\
      --segmentation runs/bayes_segnet/best.ckpt --resynthesis runs/generator/last.ckpt \\
      --dissimilarity runs/discrepancy/best.ckpt --out runs/image_resynthesis
  anomaly-seg detect images/ --bundle runs/image_resynthesis --out found/
"""


def add_parser(methods: Any) -> None:
    """Add the method `image_resynthesis`."""
    verb = methods.add_parser(
        "image_resynthesis",
        help="segmentation, generator and discrepancy network of Image Resynthesis",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "--network", required=True, choices=SEGMENTATIONS, help="kind of the segmentation"
    )
    verb.add_argument(
        "--variant",
        choices=VARIANTS,
        default="full",
        help="what the discrepancy network reads: "
        + "; ".join(f"{variant}: {reads}" for variant, reads in VARIANTS.items()),
    )
    kinds = "published checkpoint (.pth) or one of training (.ckpt)"
    verb.add_argument("--segmentation", type=Path, required=True, help=kinds)
    verb.add_argument("--resynthesis", type=Path, help=f"{kinds}; not for labels_only")
    verb.add_argument("--dissimilarity", type=Path, required=True, help=kinds)
    verb.add_argument(
        "--synthesis-scaling",
        choices=[scaling.value for scaling in SynthesisScaling],
        default=SynthesisScaling.IMAGENET.value,
        help="how the discrepancy network gets the synthesis: as in training (imagenet, or uint8 "
        "with its whole grey levels), or in -1..1 as in the authors' joint pipeline (raw)",
    )
    add_bundle_arguments(verb, name="image_resynthesis_VARIANT_NETWORK")
    verb.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Load the networks, export, write; returns 0."""
    bundle = import_image_resynthesis(
        args.network,
        args.segmentation,
        args.resynthesis,
        args.dissimilarity,
        args.out,
        variant=args.variant,
        scaling=SynthesisScaling(args.synthesis_scaling),
        size=args.size,
        name=args.name,
    )
    say(bundle)
    return 0


def import_image_resynthesis(
    network: str,
    segmentation: Path,
    resynthesis: Path | None,
    dissimilarity: Path,
    out: Path,
    *,
    variant: str = "full",
    scaling: SynthesisScaling = SynthesisScaling.IMAGENET,
    size: tuple[int, int] | None = None,
    name: str | None = None,
) -> Bundle:
    """Write the bundle of a variant, a row of `published.DISCREPANCIES`.

    network: a row of `published.SEGMENTATIONS`. segmentation, resynthesis, dissimilarity:
    published checkpoint files or such of `fit`; no resynthesis for the variant labels_only. size:
    (H, W) of the network input. Raises WeightsError for files that do not fit, are too few or too
    many, BundleError where the graphs do not answer as torch does.
    """
    if variant == "labels_only" and scaling is not SynthesisScaling.IMAGENET:
        raise WeightsError(
            f"variant {variant} has no synthesis to scale as {scaling.value}: leave out "
            "--synthesis-scaling, or choose another variant"
        )
    checkpoints = _checkpoints(network, segmentation, resynthesis, dissimilarity, variant)
    networks: dict[str, Any] = {role: entry.network for role, entry in checkpoints.items()}
    stages = paper_stages(
        networks["segmentation"],
        networks.get("resynthesis"),
        networks["dissimilarity"],
        scaling=scaling,
    )
    bundle = bundle_checkpoints(
        out,
        stages,
        Origin("image_resynthesis", PAPER, checkpoints),
        name=name or f"image_resynthesis_{variant}_{network}",
        size=size or checkpoints["dissimilarity"].trained.size,
        gate=FLIPS_SPREAD,
    )
    card = _model_card(bundle, network, variant, scaling, checkpoints)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return bundle


def _checkpoints(
    network: str, segmentation: Path, resynthesis: Path | None, dissimilarity: Path, variant: str
) -> dict[str, Checkpoint]:
    """Every network of the variant, by the stage it fills."""
    synthesises = variant != "labels_only"
    if synthesises and resynthesis is None:
        raise WeightsError(
            f"variant {variant} compares with a synthesis and got no generator: give its "
            "checkpoint with --resynthesis, or choose --variant labels_only"
        )
    if not synthesises and resynthesis is not None:
        raise WeightsError(
            f"variant {variant} has no use for {resynthesis}: leave out --resynthesis, or choose "
            "another variant"
        )
    found = {
        "segmentation": trained_segmentation(segmentation, network)
        or load_checkpoint("segmentation", segmentation, SEGMENTATIONS[network], BDD100K)
    }
    if resynthesis is not None:
        found["resynthesis"] = trained_generator(resynthesis) or load_checkpoint(
            "resynthesis", resynthesis, GENERATOR, SWAPPED_CITYSCAPES
        )
    found["dissimilarity"] = trained_discrepancy(dissimilarity, variant) or load_checkpoint(
        "dissimilarity", dissimilarity, DISCREPANCIES[variant], SWAPPED_CITYSCAPES
    )
    return found


def _model_card(
    bundle: Bundle,
    network: str,
    variant: str,
    scaling: SynthesisScaling,
    checkpoints: Mapping[str, Checkpoint],
) -> str:
    published = all(entry.trainer == PUBLISHERS for entry in checkpoints.values())
    segmented, compared = (checkpoints[role].trained for role in ("segmentation", "dissimilarity"))
    synthesis = (
        f"The synthesis reaches the discrepancy network in scaling `{scaling.value}`.\n"
        if variant != "labels_only"
        else ""
    )
    dropout = (
        "The segmentation runs once, without dropout; the paper averages 16 passes with dropout.\n"
        if network == "bayes_segnet"
        else ""
    )
    return f"""# {bundle.name}

Image Resynthesis ({PAPER}) from {"published " if published else ""}checkpoints: segmentation
`{network}`, trained on {segmented.name}; variant `{variant}`, which reads {VARIANTS[variant]},
trained on {compared.name} with labels swapped. Runs at {bundle.input.height}x{bundle.input.width}.
{synthesis}{dropout}
Score: how surely, 0..1, the discrepancy network holds the predicted label for wrong at a pixel. It
is no calibrated probability: training weighted discrepant pixels up. Known false alarms: the
vehicle's own bonnet, which the generator never drew as such (give the node a region of interest),
and scenes unlike those of training, tunnel walls among them.

Threshold {THRESHOLD}: {RULE}. Nothing was measured on this
bundle: choose a threshold on your own frames before you rely on it.

Weights and data carry the terms of their publishers (`provenance` in bundle.yaml).
"""
