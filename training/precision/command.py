"""`python -m training add-precision`: a bundle in fp32 also becomes one in fp16 or int8."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from anomaly_seg_ros.bundle import BUNDLE_FILE, DEFAULT_BUNDLE, Bundle, write_bundle
from training.precision.errors import PrecisionError
from training.precision.making import (
    MIN_SPEEDUP,
    Made,
    Say,
    make_cpu_int8,
    make_half,
    make_tensorrt_int8,
)
from training.precision.workbench import Workbench

CARD = "MODEL_CARD.md"
CALIBRATION_FRAMES = 24
CPU_INT8 = "int8@onnxruntime-cpu"
MAKERS: dict[str, Callable[[Workbench, Say], Made]] = {
    "fp16": make_half,
    CPU_INT8: make_cpu_int8,
    "int8@tensorrt": make_tensorrt_int8,
}
EXAMPLES = f"""examples:
  python -m training add-precision {DEFAULT_BUNDLE} --data ../data --out runs/with_int8
  python -m training add-precision runs/mine --make fp16 --out runs/mine_fp16
Without --data, procedural scenes calibrate, and labels and scores are compared but no AP.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `add-precision`."""
    parser = subparsers.add_parser(
        "add-precision",
        help="add fp16 or int8 graphs to a bundle, where they see what fp32 sees",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="shipped name or folder")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument("--data", type=Path, help="folder that holds the datasets")
    parser.add_argument(
        "--make", nargs="+", choices=MAKERS, default=list(MAKERS), help="default: all of them"
    )
    parser.add_argument(
        "--frames", type=int, default=CALIBRATION_FRAMES, help="to calibrate on (default: 24)"
    )
    parser.add_argument(
        "--every", type=int, default=4, help="measure parity on each n-th frame (default: 4)"
    )
    parser.add_argument(
        "--min-speedup",
        type=float,
        default=MIN_SPEEDUP,
        help="of int8 on this CPU; slower graphs are refused (default: %(default)s)",
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Convert, measure, write what passed; 1 when anything was refused."""
    bundle = Bundle.open(args.bundle)
    made: dict[str, Made] = {}
    refused = False
    with tempfile.TemporaryDirectory() as name:
        bench = Workbench(bundle, args.data, Path(name), frames=args.frames, every=args.every)
        try:
            for key in args.make:
                options = {"min_speedup": args.min_speedup} if key == CPU_INT8 else {}
                try:
                    made[key] = MAKERS[key](bench, print, **options)
                except PrecisionError as error:
                    refused = True
                    print(f"refused: {error}")
        finally:
            bench.close()
        if not made:
            print(f"nothing passed: {args.out} was not written")
            return 1
        written = write_with(bundle, made, args.out)
    for stage in written.stages:
        for file in stage.files:
            print(f"{file.path}: {file.path.stat().st_size / 1e6:.2f} MB")
    return int(refused)


def write_with(bundle: Bundle, made: Mapping[str, Made], out: Path) -> Bundle:
    """The bundle with the made files beside the ones it has, in the folder `out`.

    Files of the same precision and target are replaced. Raises BundleError.
    """
    description = yaml.safe_load((bundle.folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    files = {
        stage.name: {f"{file.precision}@{file.target}": file.path for file in stage.files}
        for stage in bundle.stages
    }
    for key, result in made.items():
        precision, _, target = key.partition("@")
        target = target or "any"
        for stage in description["stages"]:
            files[stage["name"]][f"{precision}@{target}"] = result.files[stage["name"]]
            others = [
                entry
                for entry in stage["files"]
                if (entry["precision"], entry.get("for", "any")) != (precision, target)
            ]
            parity = dict(result.parity[stage["name"]])
            stage["files"] = [*others, {"precision": precision, "for": target, "parity": parity}]
    written = write_bundle(out, description=description, stage_files=files)
    card = bundle.folder / CARD
    if card.is_file() and not (out / CARD).exists():
        shutil.copyfile(card, out / CARD)
    return written
