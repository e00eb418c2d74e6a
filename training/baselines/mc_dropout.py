"""Monte Carlo dropout."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.baselines.base import Baseline, BaselineError, Scored, dropouts_of, labels_of
from training.baselines.samples import Measure, Samples, predictive_entropy
from training.segmenter import Segmenter

PASSES = 50  # ObsNet and SynthCP
FEW_PASSES = 16  # Image Resynthesis


class MCDropout(Baseline):
    """A measure over passes with dropout at work (Gal and Ghahramani, ICML 2016).

    Only dropout is random: batch norm keeps its running statistics. The labels are those of the
    plain pass or, with `mean_labels`, of the mean softmax over the passes. Measures:
    `training.baselines.samples`. Same seed, same masks for every frame. What the network computes
    before its first dropout layer is computed once: every pass has the same.
    """

    name = "mc_dropout"

    def __init__(
        self,
        passes: int = PASSES,
        *,
        measure: Measure = predictive_entropy,
        mean_labels: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.passes, self.measure, self.mean_labels, self.seed = passes, measure, mean_labels, seed

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        prepared = segmenter.prepare(image)
        with before_dropout(segmenter.network) as parts:
            plain = segmenter.logits(prepared)
        samples = Samples.like(plain)
        generator = torch.Generator(prepared.device).manual_seed(self.seed)
        with dropping(segmenter.network, generator), computed_once(parts):
            for _ in range(self.passes):
                samples.add(segmenter.logits(prepared))
        deciding = samples.probabilities if self.mean_labels else plain
        return Scored(labels_of(deciding), self.measure(samples))


@contextmanager
def dropping(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """The dropout layers of a network in evaluation mode drop, with masks from `generator`.

    Raises BaselineError where the network has no dropout layer or none of them ran.
    """
    ran = set()

    def drop(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        ran.add(layer)
        return output * _mask(layer, output, generator)

    handles = [layer.register_forward_hook(drop) for layer in dropouts_of(network)]
    try:
        yield
        if not ran:
            raise BaselineError(
                f"no dropout layer of {type(network).__name__} ran: its passes are all the same"
            )
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def before_dropout(network: nn.Module) -> Iterator[list[nn.Module]]:
    """Collects what runs once, and whole, before the first dropout layer of a pass made within.

    Modules inside of collected ones are left out; the list is filled at the end.
    """
    parts: list[nn.Module] = []
    first: set[nn.Module] = set()
    calls: Counter[nn.Module] = Counter()
    dropouts = set(dropouts_of(network))

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if not any(calls[layer] for layer in dropouts):
            first.add(module)

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield parts
    finally:
        for handle in handles:
            handle.remove()
    inside: set[nn.Module] = set()
    for module in network.modules():  # the outer ones come first
        if module not in inside and module in first and calls[module] == 1:
            parts.append(module)
            inside.update(module.modules())


@contextmanager
def computed_once(modules: list[nn.Module]) -> Iterator[None]:
    """Modules answer every call with a copy of their first answer."""
    own = [vars(module).get("forward") for module in modules]  # as compiled modules have
    for module in modules:
        module.forward = _remembering(module.forward)
    try:
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _remembering(forward: Callable[..., Any]) -> Callable[..., Any]:
    answers: list[Any] = []

    def answer(*inputs: Any, **options: Any) -> Any:
        if not answers:
            answers.append(forward(*inputs, **options))
        return copy.deepcopy(answers[0])  # the next layer may work in place

    return answer


def _mask(layer: nn.Module, values: Tensor, generator: torch.Generator) -> Tensor:
    """0 with the layer's rate, else 1 / (1 - rate); one value per channel in Dropout1d to 3d."""
    keep = 1.0 - float(layer.p)  # type: ignore[arg-type]  # dropouts_of gives layers with a rate
    channels = (*values.shape[:2], *[1] * (values.ndim - 2))
    mask = values.new_empty(values.shape if isinstance(layer, nn.Dropout) else channels)
    return mask.bernoulli_(keep, generator=generator).div_(max(keep, torch.finfo(mask.dtype).tiny))
