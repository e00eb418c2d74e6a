"""`python -m training gpu-report`: parity and latency of the torch backend on the GPU here."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.backends.base import choose_file
from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.backends.torch_backend import PRECISIONS, TorchBackend
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle, write_bundle
from anomaly_seg_ros.classes import CITYSCAPES
from training.benchmark.machine import describe_machine
from training.bundle_networks import bundle_stages
from training.checkpoint_bundle import size_of
from training.export import Gate, export_stages
from training.methods.image_resynthesis.paper_pipeline import paper_stages as resynthesis_stages
from training.methods.obsnet.paper_pipeline import paper_stages as obsnet_stages
from training.methods.obsnet.published import CITYSCAPES_TRAIN
from training.networks.deeplab_v3plus import DeepLabV3Plus, DeepLabV3PlusObserver
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import GlobalGenerator
from training.networks.pspnet import PSPNet
from training.networks.segnet import SegNet
from training.networks.segnet_observer import SegNetObserver
from training.precision.command import write_with
from training.precision.graphs import prepared, with_bytes_at_ends
from training.precision.half import mixed_precision
from training.precision.making import Made
from training.precision.ranges import measure_ranges
from training.precision.speed import Cost, in_turn
from training.precision.workbench import stage_feeds
from training.stage import Stage
from training.torch_programs.eager import EagerRunner
from training.torch_programs.programs import Compared, compare, make_programs, sample_images

PAPER_SIZE = (512, 1024)
TOLD_NOT_JUDGED = Gate(label_agreement=0.0, score_mean_error=1e9, score_max_error=1e9)
PAPER: dict[str, Callable[[], list[Stage]]] = {
    "obsnet_segnet": lambda: obsnet_stages(SegNet(19), SegNetObserver(), CITYSCAPES_TRAIN),
    "obsnet_deeplabv3plus": lambda: obsnet_stages(
        DeepLabV3Plus(19), DeepLabV3PlusObserver(19), CITYSCAPES_TRAIN
    ),
    "image_resynthesis": lambda: resynthesis_stages(
        PSPNet(), GlobalGenerator(), DiscrepancyNetwork()
    ),
}
EXAMPLES = """examples:
  python -m training gpu-report
  python -m training gpu-report --networks obsnet_segnet --size 256x512
The paper's networks have random weights: they cost what trained ones cost, and their figures of
parity tell of arithmetic alone.
"""


@dataclass(frozen=True)
class Case:
    """A bundle with fp32 and fp16 graphs, and the same networks as torch modules."""

    bundle: Bundle
    stages: Sequence[Stage]


@dataclass(frozen=True)
class Row:
    """One way to run a case."""

    name: str
    cost: Cost
    compared: Compared
    note: str


def add_parser(subparsers: Any) -> None:
    """Add the verb `gpu-report`."""
    parser = subparsers.add_parser(
        "gpu-report",
        help="torch eager against torch programs and CUDA graphs, on this machine's GPU",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", help="cuda (default) or cuda:N")
    parser.add_argument("--size", type=size_of, default=PAPER_SIZE, help="default: 512x1024")
    parser.add_argument("--runs", type=int, default=50, help="of each, in turn (default: 50)")
    parser.add_argument(
        "--networks", nargs="*", choices=PAPER, default=list(PAPER), help="besides the default"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print a table per bundle; one line where there is no GPU. Returns 0."""
    backend = TorchBackend()
    reason = backend.cuda_unavailable_reason()
    if reason is not None:
        print(f"no GPU, nothing was measured: {reason}")
        return 0
    device = backend.device(args.device)
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in cases(folder, args.networks, args.size):
            rows = measure(case, EngineCache(folder / "engines"), device, args.runs)
            print("\n".join(["", *lines(case, rows)]), flush=True)
    return 0


def cases(folder: Path, networks: Sequence[str], size: tuple[int, int]) -> Iterator[Case]:
    """The default bundle, then the paper's networks, written to `folder` one after the other."""
    shipped = Bundle.open(DEFAULT_BUNDLE)
    yield Case(with_half(shipped, folder / shipped.name), bundle_stages(shipped))
    for name in networks:
        torch.manual_seed(0)
        stages = PAPER[name]()
        fp32 = random_bundle(folder / f"{name}_fp32", name, stages, size)
        yield Case(with_half(fp32, folder / name), stages)


def random_bundle(
    folder: Path, name: str, stages: Sequence[Stage], size: tuple[int, int]
) -> Bundle:
    """A bundle of networks of 19 classes that were not trained, at input size (H, W)."""
    description: dict[str, Any] = {
        "format": 1,
        "name": name,
        "method": name,
        "paper": "none: random weights",
        "source": "python -m training gpu-report",
        "input": {"height": size[0], "width": size[1], "fit": "squash"},
        "classes": [
            {"id": id_, "name": text, "color": list(colour)} for id_, text, colour in CITYSCAPES
        ],
        "score": {"display": [0.0, 1.0]},
        "operating_points": {"default": {"threshold": 0.5, "rule": "none", "data": "none"}},
        "provenance": {},
    }
    images = sample_images(size)
    _settle_norms(stages, torch.cat([torch.from_numpy(image) for image in images]))
    exported = export_stages(
        stages, images[:1], folder / "graphs", gate=TOLD_NOT_JUDGED, rounded=False
    )
    files = {stage.description["name"]: {"fp32": stage.file} for stage in exported}
    description["stages"] = [stage.description for stage in exported]
    return write_bundle(folder / "bundle", description=description, stage_files=files)


def with_half(bundle: Bundle, out: Path) -> Bundle:
    """The bundle with fp16 graphs beside fp32, their ranges taken from procedural scenes."""
    images = sample_images((bundle.input.height, bundle.input.width))
    runner = load_runner(bundle, "onnxruntime", "cpu")
    with tempfile.TemporaryDirectory() as name:
        files = {}
        for stage in bundle.stages:
            graph = prepared(choose_file(stage, "fp32", "onnxruntime-cpu").path)
            model = with_bytes_at_ends(graph)
            ranges = measure_ranges(model, stage_feeds(runner, stage, images))
            files[stage.name] = Path(name) / f"{stage.name}.onnx"
            onnx.save(mixed_precision(model, ranges).model, files[stage.name])
        runner.close()
        made = Made(files, {stage: {"frames": len(images)} for stage in files})
        return write_with(bundle, {"fp16": made}, out)


def measure(case: Case, cache: EngineCache, device: torch.device, runs: int) -> list[Row]:
    """Every way to run the case, in turn, and the parity of each."""
    runners: dict[str, Runner] = {
        "eager fp32": EagerRunner(case.stages, device),
        "eager fp16 (autocast)": EagerRunner(case.stages, device, half=True),
    }
    for precision in PRECISIONS:
        make_programs(case.bundle, cache, device=device, precision=precision, gate=TOLD_NOT_JUDGED)
        for graphs in (False, True) if device.type == "cuda" else (False,):
            name = f"program {precision}{', CUDA graphs' if graphs else ''}"
            backend = TorchBackend(lambda: cache, graphs=graphs)
            runners[name] = backend.load(case.bundle, str(device), precision)
    images = sample_images((case.bundle.input.height, case.bundle.input.width))
    costs = in_turn(runners, images[0], runs)
    rows = []
    for name, runner in runners.items():
        compared = compare(case.bundle, runner, images)
        rows.append(Row(name, costs[name], compared, runner.describe().note))
        runner.close()
    return rows


def lines(case: Case, rows: Sequence[Row]) -> list[str]:
    """A table for terminals and Markdown. Latency is of labels and score on the host."""
    spec = case.bundle.input
    base = rows[0].cost.wall
    told = [
        f"{case.bundle.name}, {spec.height}x{spec.width}; parity against ONNX Runtime, fp32, CPU",
        "| | p50 ms | x eager fp32 | label agreement | score error, mean | max |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        found = row.compared
        parity = (
            f"{found.label_agreement:.4f} | {found.score_mean_error:.2g} | "
            f"{found.score_max_error:.2g}"
        )
        cost = f"{row.cost.wall:.2f} | {base / row.cost.wall:.2f}"
        told.append(f"| {row.name} | {cost} | {parity} |")
        if row.note:
            told.append(f"| {row.note} | | | | | |")
    return told


@torch.no_grad()
def _settle_norms(stages: Sequence[Stage], images: torch.Tensor) -> None:
    """Batch norms that have seen images: without, numbers grow from layer to layer. Then evaluate.

    images: uint8 [N >= 2, H, W, 3].
    """
    tensors = {"image": images}
    for stage in stages:
        for module in stage.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain average
        made = stage.train()(*(tensors[name] for name in stage.inputs))
        values = made if isinstance(made, tuple) else (made,)
        tensors.update(zip(stage.outputs, values, strict=True))
        stage.eval()
