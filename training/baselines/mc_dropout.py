"""Monte Carlo dropout."""

from __future__ import annotations

from collections.abc import Iterator
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
    `training.baselines.samples`. Same seed, same masks for every frame.
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
        plain = segmenter.logits(prepared)
        samples = Samples.like(plain)
        generator = torch.Generator(prepared.device).manual_seed(self.seed)
        with dropping(segmenter.network, generator):
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


def _mask(layer: nn.Module, values: Tensor, generator: torch.Generator) -> Tensor:
    """0 with the layer's rate, else 1 / (1 - rate); one value per channel in Dropout1d to 3d."""
    keep = 1.0 - float(layer.p)  # type: ignore[arg-type]  # dropouts_of gives layers with a rate
    channels = (*values.shape[:2], *[1] * (values.ndim - 2))
    mask = values.new_empty(values.shape if isinstance(layer, nn.Dropout) else channels)
    return mask.bernoulli_(keep, generator=generator).div_(max(keep, torch.finfo(mask.dtype).tiny))
