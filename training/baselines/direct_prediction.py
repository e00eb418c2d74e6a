"""A small head on the frozen network's features that predicts where the network is right."""

from __future__ import annotations

from itertools import repeat

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from training.baselines.base import Baseline, BaselineError, Frames, Scored, features_of, labels_of
from training.baselines.labelled import labelled_features, score_at
from training.data.label_spaces import VOID
from training.segmenter import Segmenter

WIDTH = 32
LEARNING_RATE = 2e-4  # SynthCP


class CorrectnessHead(nn.Sequential):
    """Features [N, D, h, w] -> logit [N, 1, h, w] of "the segmentation is right here"."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 1, 1),
        )


class DirectPrediction(Baseline):
    """Score = 1 - (conf + max softmax) / 2, conf the head's probability of being right.

    After the direct prediction that SynthCP (Xia et al., ECCV 2020) compares with, where a ResNet
    sees the image and the logits; here the head reads the segmenter's own features. Trained with
    SynthCP's confidence loss, one step a frame, `passes` times over the frames. Score in 0..1.
    """

    name = "direct_prediction"
    needs_fit = True
    state_names = tuple(f"{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias"))

    def __init__(
        self, passes: int = 1, learning_rate: float = LEARNING_RATE, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.passes, self.learning_rate, self.seed = passes, learning_rate, seed

    def _fit(self, segmenter: Segmenter, frames: Frames) -> dict[str, Tensor]:
        if self.passes > 1 and iter(frames) is frames:
            raise BaselineError(
                f"{self.name}: {self.passes} passes over an iterator that ends after one: "
                "give a sequence of frames"
            )
        head: CorrectnessHead | None = None
        for again in repeat(frames, self.passes):
            for logits, features, labels in labelled_features(segmenter, again):
                if head is None:
                    head = seeded_head(features.shape[1], self.seed).to(features.device)
                    optimizer = torch.optim.Adam(head.parameters(), self.learning_rate)
                logits = _at(logits, features)
                with torch.enable_grad():
                    loss = confidence_loss(logits, labels, head(features.detach())[:, 0])
                    optimizer.zero_grad()
                    loss.backward()
                optimizer.step()
        assert head is not None  # no frames is an error of its own
        return dict(head.state_dict())

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        logits, features = features_of(segmenter, image)
        with torch.device("meta"):  # a shape to call the fitted weights in
            head = CorrectnessHead(self.fitted["0.weight"].shape[1])
        confidence = functional_call(head, self.fitted, (features,)).sigmoid()[:, 0]
        sure = logits.softmax(dim=1).amax(dim=1)
        return Scored(labels_of(logits), 1 - (score_at(confidence, logits) + sure) / 2)


def confidence_loss(logits: Tensor, labels: Tensor, answer: Tensor) -> Tensor:
    """SynthCP's: mean of m * w * BCE(answer, [argmax logits = label]), w = (max softmax)^2.

    logits [N, C, h, w]; labels int64 [N, h, w], m = 0 where 255 (these still count in the mean);
    answer [N, h, w] before its sigmoid.
    """
    best, predicted = logits.softmax(dim=1).max(dim=1)
    right = (predicted == labels).to(answer.dtype)
    weight = (labels != VOID) * best.square()
    each = functional.binary_cross_entropy_with_logits(answer, right, reduction="none")
    return (weight * each).mean()


def seeded_head(channels: int, seed: int) -> CorrectnessHead:
    """A fresh head, the same for the same seed; the global generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CorrectnessHead(channels)


def _at(logits: Tensor, features: Tensor) -> Tensor:
    if logits.shape[-2:] == features.shape[-2:]:
        return logits
    return functional.interpolate(logits, size=features.shape[-2:], mode="bilinear")
