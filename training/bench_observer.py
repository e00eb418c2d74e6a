"""`python -m training bench-observer`: what a training step of the paper's observer costs."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anomaly_seg_ros.errors import AnomalySegError
from training.methods.obsnet.attack_regions import draw_regions
from training.methods.obsnet.attacks import ATTACKS, NOISE
from training.methods.obsnet.optimisation import OPTIMISERS
from training.methods.obsnet.paper_data import Views
from training.methods.obsnet.paper_networks import with_indices
from training.methods.obsnet.paper_training import PaperObserver, PaperObserverSettings

WARMUP = 2  # steps of each, not counted
PLAIN = "released loop, written plainly"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Batch = dict[str, Tensor]
EXAMPLES = """examples:
  python -m training bench-observer
  python -m training bench-observer --width 1 --size 360x480 --batch 8 --device cuda
Random weights and images, which cost the same. All take turns within one run. The plain loop does
what the release's loop does step by step: masks drawn image by image on the CPU, two whole passes
of the segmentation with its batch norms, NCHW memory, float32; its gradients are taken for the
image alone. Ours does the same arithmetic: region drawing is counted here though it happens in the
data loader's processes when training.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `bench-observer`."""
    parser = subparsers.add_parser(
        "bench-observer",
        help="training steps of ObsNet's observer against the released loop",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--width", type=float, default=0.5, help="of SegNet (default: %(default)s)")
    parser.add_argument("--size", default="180x240", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="of each, in turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision", default="float32,bfloat16", help=f"comma list of {', '.join(PRECISIONS)}"
    )
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print medians and ratios; returns 0."""
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    precisions = _precisions(args.precision)
    views = Views(size=_size(args.size), batch=args.batch)
    settings = PaperObserverSettings(width=args.width, views=views)
    torch.manual_seed(0)
    batch = _batch(views, device)
    plain = PlainLoop(settings, device)
    ours = {name: PaperObserver(settings, Path()).to(device).train() for name in precisions}
    steps: dict[str, Callable[[], object]] = {PLAIN: lambda: plain.step(batch)}
    for name, kind in precisions.items():
        steps[f"ours, {name}"] = _our_step(ours[name], batch, kind)
    taken = _alternating(steps, args.steps, device)
    base = statistics.median(taken[PLAIN])
    print(
        f"observer of SegNet x {args.width:g}, {args.size}, batch {args.batch}, {args.threads} "
        f"threads, {device}: training steps"
    )
    for name, values in taken.items():
        median = statistics.median(values)
        print(
            f"  {name:32s} {1e3 * median:9.1f} ms {args.batch / median:8.2f} images/s"
            f"   {base / median:5.2f} x the released loop"
        )
    for name, kind in precisions.items():
        scored = _alternating(_inference(ours[name], batch, kind), args.steps, device)
        alone, both = (statistics.median(values) for values in scored.values())
        print(
            f"  evaluation, {name}: segmentation {1e3 * alone:.1f} ms, with observer "
            f"{1e3 * both:.1f} ms, {both / alone:.2f} x the segmentation alone"
        )
    return 0


class PlainLoop:
    """The released training loop (Besnier et al., ICCV 2021) without any of our shortcuts."""

    def __init__(self, settings: PaperObserverSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.segmentation = with_indices(settings.networks.segmentation()).to(device).eval()
        self.observer = with_indices(settings.networks.observer()).to(device).train()
        self.optimiser = torch.optim.SGD(self.observer.parameters(), lr=0.2)
        self.rng = np.random.default_rng(0)

    def step(self, batch: Batch) -> Tensor:
        """One optimiser step; its loss."""
        recipe = self.settings.views.recipe
        mean, std = (
            torch.tensor(values, device=self.device)[:, None, None]
            for values in (recipe.trained.mean, recipe.trained.std)
        )
        image = batch["image"].permute(0, 3, 1, 2).contiguous().float()
        image = (image / 255.0 - mean) / std
        label = batch["label"].long()
        labels = batch["label"].cpu().numpy()
        region = ATTACKS[self.settings.attack].region
        mask = torch.zeros_like(image)
        for row in range(image.shape[0]):
            one = draw_regions(region, labels[row][None], self.rng, recipe.sizes)
            mask[row] = one[0].to(self.device)
        image = (image + NOISE * torch.randn_like(image) * mask).requires_grad_()
        loss = functional.cross_entropy(self.segmentation(image)[0], label)
        (gradient,) = torch.autograd.grad(loss, image)
        step = self.settings.epsilon * gradient.sign() * mask
        image = (image.detach() + step).clamp(-3, 3)
        with torch.no_grad():
            logits, *taps = self.segmentation(image)
        wrong = (logits.argmax(dim=1) != label).float()
        answer = self.observer(image, *taps)[:, 0]
        weight = torch.tensor(recipe.error_weight, device=self.device)
        loss = functional.binary_cross_entropy_with_logits(answer, wrong, pos_weight=weight)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()


def _our_step(model: PaperObserver, batch: Batch, kind: torch.dtype) -> Callable[[], Tensor]:
    optimiser = OPTIMISERS["sgd"](
        model.observer.parameters(),
        lr=0.2,  # type: ignore[call-arg]
    )
    rng = np.random.default_rng(0)
    attack = ATTACKS[model.settings.attack]
    labels = batch["label"].cpu().numpy()
    device = batch["label"].device

    def step() -> Tensor:
        region = draw_regions(attack.region, labels, rng, model.recipe.sizes).to(device)
        with torch.autocast(device.type, kind, enabled=kind is not torch.float32):
            loss, _ = model.loss({**batch, "region": region})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def _inference(
    model: PaperObserver, batch: Batch, kind: torch.dtype
) -> dict[str, Callable[[], object]]:
    """Evaluation of the batch by the segmentation alone, and by both networks."""
    model.eval()

    def evaluate(run: Callable[[], object]) -> object:
        device = batch["image"].device.type
        with torch.no_grad(), torch.autocast(device, kind, enabled=kind is not torch.float32):
            return run()

    return {
        "alone": lambda: evaluate(lambda: model.segmented(batch["image"])),
        "both": lambda: evaluate(lambda: model.answers(batch["image"])),
    }


def _alternating(
    calls: dict[str, Callable[[], object]], count: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each call, `count` times in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(count + WARMUP):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= WARMUP:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def _batch(views: Views, device: torch.device) -> Batch:
    shape = (views.batch, *views.size)
    return {
        "image": torch.randint(0, 256, (*shape, 3), dtype=torch.uint8).to(device),
        "label": torch.randint(0, views.recipe.classes, shape, dtype=torch.uint8).to(device),
        "wrong_class": torch.randint(0, views.recipe.classes, (views.batch,)).to(device),
    }


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise AnomalySegError(f"size {text!r}; expected HEIGHTxWIDTH, for example 180x240")
    return int(height), int(width)


def _precisions(text: str) -> dict[str, torch.dtype]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PRECISIONS]:
        raise AnomalySegError(
            f"unknown precision {unknown[0]!r}; expected some of {', '.join(PRECISIONS)}"
        )
    return {name: PRECISIONS[name] for name in names}
