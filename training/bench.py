"""`python -m training bench`: the default model in ONNX Runtime against torch eager, in one run."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid

EXAMPLES = """examples:
  python -m training bench
  python -m training bench --threads 1 --frames 50
The torch networks have the shipped shapes and random weights, which cost the same.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="ONNX Runtime against torch eager",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=30, help="frames of each, in turn")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print medians and ratios; returns 0."""
    torch.set_num_threads(args.threads)
    bundle = Bundle.open(args.bundle)
    image = np.random.default_rng(0).integers(
        0, 256, (1, bundle.input.height, bundle.input.width, 3), np.uint8
    )
    runner = load_runner(bundle, "onnxruntime", threads=args.threads)
    segmentation = Segmentation(LightPyramid()).eval()
    observer = Observation(LightObserver()).eval()
    pixels = torch.from_numpy(image)

    @torch.no_grad()
    def eager() -> None:
        logits, _, *features = segmentation(pixels)
        observer(logits, *features)

    @torch.no_grad()
    def eager_channels_last() -> None:
        logits, _, *features = fast_segmentation(pixels)
        fast_observer(logits, *features)

    fast_segmentation = Segmentation(LightPyramid()).eval().to(memory_format=torch.channels_last)
    fast_observer = Observation(LightObserver()).eval().to(memory_format=torch.channels_last)
    contenders: dict[str, Callable[[], Any]] = {
        "onnxruntime, whole chain": lambda: runner.run(image, ("labels", "score")),
        "onnxruntime, segmentation alone": lambda: runner.run(image, ("labels",)),
        "torch eager": eager,
        "torch eager, channels last": eager_channels_last,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for frame in range(args.frames + 3):  # three frames of warm-up
        for name, call in contenders.items():
            begin = time.perf_counter()
            call()
            if frame >= 3:
                seconds[name].append(time.perf_counter() - begin)
    base = statistics.median(seconds["onnxruntime, whole chain"])
    print(f"{bundle.name}, {bundle.input.height}x{bundle.input.width}, {args.threads} threads")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"  {name:34s} {1e3 * median:7.1f} ms median   {median / base:5.2f} x the chain")
    runner.close()
    return 0
