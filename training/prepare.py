"""`python -m training prepare`: datasets found, checked, made and converted."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from training.data import bdd_anomaly, procedural
from training.data.catalogue import ANOMALY_SETS, TRAINING_SETS
from training.data.conversion import FORMATS, Conversion, convert
from training.data.discrepancy import (
    INSTANCES,
    PAPER_QUALITY,
    DiscrepancyRequest,
    make_discrepancies,
)
from training.data.inspection import inspect
from training.data.labelled_frames import DatasetError
from training.data.predicted_labels import open_predictor

EXAMPLES = """ROOT is the folder that holds the datasets. Stopped runs go on with the same command.

examples:
  python -m training prepare check road_anomaly21 ../data
  python -m training prepare check cityscapes/val ../data --read
  python -m training prepare procedural ../data
  python -m training prepare bdd_anomaly ../data
  python -m training prepare convert cityscapes/train ../data --out ../data/small --size 1024x512
  python -m training prepare discrepancy cityscapes/train ../data --out ../data/discrepancy \\
      --size 512x1024 --generator ../data/latest_net_G.pth
"""
DATASETS = f"DATASET is NAME, NAME/SPLIT or folder:PATH; names are {', '.join(ANOMALY_SETS)}."


def add_parser(subparsers: Any) -> None:
    """Add the verb `prepare`."""
    parser = subparsers.add_parser(
        "prepare",
        help="check, make and convert datasets",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    check = actions.add_parser(
        "check",
        help="say how many frames a dataset has, or what is missing and how to get it",
        description=f"Frames per split, or all that is missing or wrong. {DATASETS}",
    )
    check.add_argument("dataset", metavar="DATASET", help="NAME means all its splits")
    _add_common(check, _check)
    check.add_argument("--read", action="store_true", help="read every image and label too")

    convert_action = actions.add_parser(
        "convert",
        help="write a dataset as images/ and labels/ at another size",
        description=(
            "Images are antialiased, labels nearest; the result opens as folder:DIR, with its"
            f" classes where the dataset names them. {DATASETS}"
        ),
    )
    convert_action.add_argument("dataset", metavar="DATASET", help="NAME means its first split")
    _add_common(convert_action, _convert)
    convert_action.add_argument("--out", type=Path, required=True, help="folder to write")
    convert_action.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default: as stored)")
    convert_action.add_argument("--format", choices=FORMATS, default="webp", help="of the images")
    convert_action.add_argument("--quality", type=int, default=90, help="1..100, not for png")

    _add_discrepancy(actions)
    _add_common(
        actions.add_parser("procedural", help="draw the procedural training scenes"), _procedural
    )
    _add_common(
        actions.add_parser("bdd_anomaly", help="split BDD100K's labels into BDD-Anomaly"),
        _bdd_anomaly,
    )


def _add_discrepancy(actions: Any) -> None:
    parser = actions.add_parser(
        "discrepancy",
        help="swap labels of objects and render them: what Image Resynthesis learns from",
        description=(
            "Half of the objects of each frame take a wrong class, and a generator draws the frame"
            " anew (Lis et al., ICCV 2019). One folder takes all splits. DATASET is NAME or"
            f" NAME/SPLIT; names are {', '.join(TRAINING_SETS)}."
        ),
    )
    parser.add_argument("dataset", metavar="DATASET", help="NAME means its split train")
    _add_common(parser, _discrepancy)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--generator", type=Path, required=True, help="checkpoint of ours, or latest_net_G.pth"
    )
    parser.add_argument("--size", type=_height_first, help="HEIGHTxWIDTH (default: true shape)")
    parser.add_argument("--seed", type=int, default=0, help="of the swaps (default: 0)")
    parser.add_argument(
        "--predictions", metavar="BUNDLE", help="swap what this bundle sees, not the true labels"
    )
    parser.add_argument("--instances", choices=INSTANCES, default="auto", help="what objects are")
    parser.add_argument(
        "--background", action="store_true", help="swap a quarter of the background parts too"
    )
    parser.add_argument(
        "--at-least-one", action="store_true", help="swap an object where there is only one"
    )
    parser.add_argument("--mask", type=Path, help="picture: errors count where it is not 0")
    parser.add_argument(
        "--format", choices=tuple(PAPER_QUALITY), default="jpg", help="of synthesis"
    )
    parser.add_argument("--quality", type=int, help="1..100 (default: jpg 75, webp 90)")
    parser.add_argument("--batch", type=int, default=4, help="frames rendered at a time")
    parser.add_argument("--limit", type=int, help="only the first frames")


def _add_common(parser: argparse.ArgumentParser, handler: Any) -> None:
    parser.add_argument("root", metavar="ROOT", type=Path, help="folder that holds the datasets")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.set_defaults(handler=handler)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1024x512")
    return int(match[1]), int(match[2])


def _height_first(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 512x1024")
    return int(match[1]), int(match[2])


def _check(args: argparse.Namespace) -> int:
    """Print the findings; 2 where a split is missing or wrong."""
    findings = inspect(args.dataset, args.root, read=args.read, workers=args.workers)
    for finding in findings:
        print(finding)
    return 2 if any(finding.errors for finding in findings) else 0


def _convert(args: argparse.Namespace) -> int:
    conversion = Conversion(args.size, args.format, args.quality)
    count = convert(args.dataset, args.root, args.out, conversion, args.workers)
    print(f"folder:{args.out}: {count} frames")
    return 0


def _discrepancy(args: argparse.Namespace) -> int:
    from training.methods.image_resynthesis.generators import open_generator

    if not args.generator.is_file():
        raise DatasetError(f"--generator {args.generator}: no such file; expected a checkpoint")
    digest = hashlib.sha256(args.generator.read_bytes()).hexdigest()[:16]
    name, _, split = args.dataset.partition("/")
    request = DiscrepancyRequest(
        dataset=name,
        generator=f"{args.generator.name} {digest}",
        split=split or "train",
        size=args.size,
        seed=args.seed,
        at_least_one=args.at_least_one,
        background=args.background,
        instances=args.instances,
        mask=args.mask,
        format=args.format,
        quality=args.quality,
        limit=args.limit,
    )
    report = make_discrepancies(
        args.root,
        args.out,
        request,
        open_generator(args.generator),
        predictor=open_predictor(args.predictions) if args.predictions else None,
        workers=args.workers,
        batch=args.batch,
    )
    print(f"{args.out}: {report}")
    return 0


def _procedural(args: argparse.Namespace) -> int:
    procedural.render(args.root, args.workers)
    return 0


def _bdd_anomaly(args: argparse.Namespace) -> int:
    splits = bdd_anomaly.build_splits(args.root, args.workers)
    counts = ", ".join(f"{len(frames)} {split}" for split, frames in splits.frames.items())
    print(f"labels read as {splits.encoding}; frames: {counts}")
    return 0
