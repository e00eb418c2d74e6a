"""`python -m training prepare`: datasets found, checked, made and converted."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from training.data import bdd_anomaly, procedural
from training.data.catalogue import ANOMALY_SETS
from training.data.conversion import FORMATS, Conversion, convert
from training.data.inspection import inspect

EXAMPLES = """ROOT is the folder that holds the datasets. Stopped runs go on with the same command.

examples:
  python -m training prepare check road_anomaly21 ../data
  python -m training prepare check cityscapes/val ../data --read
  python -m training prepare procedural ../data
  python -m training prepare bdd_anomaly ../data
  python -m training prepare convert cityscapes/train ../data --out ../data/small --size 1024x512
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

    _add_common(
        actions.add_parser("procedural", help="draw the procedural training scenes"), _procedural
    )
    _add_common(
        actions.add_parser("bdd_anomaly", help="split BDD100K's labels into BDD-Anomaly"),
        _bdd_anomaly,
    )


def _add_common(parser: argparse.ArgumentParser, handler: Any) -> None:
    parser.add_argument("root", metavar="ROOT", type=Path, help="folder that holds the datasets")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.set_defaults(handler=handler)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 1024x512")
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


def _procedural(args: argparse.Namespace) -> int:
    procedural.render(args.root, args.workers)
    return 0


def _bdd_anomaly(args: argparse.Namespace) -> int:
    splits = bdd_anomaly.build_splits(args.root, args.workers)
    counts = ", ".join(f"{len(frames)} {split}" for split, frames in splits.frames.items())
    print(f"labels read as {splits.encoding}; frames: {counts}")
    return 0
