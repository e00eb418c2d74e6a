"""`python -m training bench`: a shipped model in ONNX Runtime against torch eager, in one run."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle
from anomaly_seg_ros.errors import BundleError
from training.methods.image_resynthesis.light_pipeline import light_stages
from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_discrepancy import LightDiscrepancy
from training.networks.light_generator import LightGenerator
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid
from training.released import OBSNET, RESYNTHESIS
from training.stage import Stage

EXAMPLES = """examples:
  python -m training bench
  python -m training bench --threads 1 --frames 50
  python -m training bench --bundle street_resynthesis_lite
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
    stages = [stage.eval() for stage in networks_like(bundle)]
    fast = [stage.eval().to(memory_format=torch.channels_last) for stage in networks_like(bundle)]
    contenders: dict[str, Callable[[], Any]] = {
        "onnxruntime, whole chain": lambda: runner.run(image, ("labels", "score")),
        "onnxruntime, segmentation alone": lambda: runner.run(image, ("labels",)),
        "torch eager, through the host": lambda: eager(stages, image),
        "torch eager, channels last": lambda: eager(fast, image),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    of_stages: dict[str, list[float]] = {stage.name: [] for stage in bundle.stages}
    for frame in range(args.frames + 3):  # three frames of warm-up
        for name, call in contenders.items():
            begin = time.perf_counter()
            answer = call()
            if frame < 3:
                continue
            seconds[name].append(time.perf_counter() - begin)
            if name == "onnxruntime, whole chain":
                for stage in of_stages:
                    of_stages[stage].append(answer.seconds[stage])
    base = statistics.median(seconds["onnxruntime, whole chain"])
    print(f"{bundle.name}, {bundle.input.height}x{bundle.input.width}, {args.threads} threads")
    for name, values in (seconds | {f"  stage {k}": v for k, v in of_stages.items()}).items():
        median = statistics.median(values)
        print(f"  {name:34s} {1e3 * median:7.1f} ms median   {median / base:5.2f} x the chain")
    runner.close()
    return 0


def networks_like(bundle: Bundle) -> list[Stage]:
    """Torch stages of the shipped shapes. Raises BundleError for a bundle that is not ours."""
    if bundle.method == "obsnet" and bundle.name == OBSNET.name:
        return [Segmentation(LightPyramid()), Observation(LightObserver())]
    if bundle.method == "image_resynthesis" and bundle.name == RESYNTHESIS.name:
        return light_stages(LightPyramid(), LightGenerator(), LightDiscrepancy())
    raise BundleError(
        f"bundle {bundle.name} has no torch networks to compare with; expected {OBSNET.name} or "
        f"{RESYNTHESIS.name}"
    )


@torch.no_grad()
def eager(stages: Sequence[Stage], image: np.ndarray) -> np.ndarray:
    """The chain stage by stage, each tensor handed on as a numpy array, as scripts do it."""
    arrays = {"image": image}
    for stage in stages:
        made = stage(*(torch.from_numpy(arrays[name]) for name in stage.inputs))
        values = made if isinstance(made, tuple) else (made,)
        arrays.update(
            {name: v.cpu().numpy() for name, v in zip(stage.outputs, values, strict=True)}
        )
    return arrays["score"]
