"""`python -m training torch-program`: programs for the torch backend, made on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anomaly_seg_ros.backends.engine_cache import default_cache
from anomaly_seg_ros.backends.torch_backend import PRECISIONS, TorchBackend
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from training.torch_programs.programs import make_programs

EXAMPLES = f"""examples:
  python -m training torch-program {DEFAULT_BUNDLE}
  python -m training torch-program runs/with_fp16 --precision fp16
  python -m training torch-program runs/obsnet --checkpoint runs/obsnet/best.ckpt --device cpu
They go to $ANOMALY_SEG_ENGINES or ~/.cache/anomaly_seg_ros/engines, and hold for this version of
torch. fp16 needs a bundle with fp16 graphs: `python -m training add-precision`.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `torch-program`."""
    parser = subparsers.add_parser(
        "torch-program",
        help="export a bundle's stages for the torch backend, into the engine cache",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="shipped name or folder")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--device", help="cuda (default), cuda:N or cpu")
    parser.add_argument(
        "--checkpoint", type=Path, help="take the networks from here, not from the graphs (fp32)"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Export, compare, keep; returns 0."""
    bundle = Bundle.open(args.bundle)
    device = TorchBackend().device(args.device)
    files = make_programs(
        bundle,
        default_cache(),
        device=device,
        precision=args.precision,
        checkpoint=args.checkpoint,
    )
    for stage, file in files.items():
        print(f"{stage}: {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0
