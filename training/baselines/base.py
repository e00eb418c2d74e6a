"""The contract of a baseline: what it learns once, and what every frame gets from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from anomaly_seg_ros.errors import AnomalySegError
from training.segmenter import Segmenter

# Image uint8 [H, W, 3] RGB and label uint8 [H, W] of train ids, 255 void.
Frames = Iterable[tuple[np.ndarray, np.ndarray]]


class BaselineError(AnomalySegError):
    """A network or data that cannot serve a baseline, or a baseline that was not fitted."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Class ids uint8 [N, h, w] and anomaly score float32 [N, h, w], higher = more anomalous."""

    labels: Tensor
    score: Tensor


class Baseline(ABC):
    """An anomaly score of a trained segmenter. Subclasses give `_score` and, to learn, `_fit`.

    The network runs in evaluation mode and comes back in the mode it had, with its weights as they
    were. Frames are scored one by one and whoever draws starts from its seed at every frame: a
    score depends neither on the frames of its batch nor on those before it.
    """

    name: str
    needs_fit: bool = False
    state_names: tuple[str, ...] = ()  # tensors that `_fit` returns

    def __init__(self) -> None:
        self.fitted: dict[str, Tensor] = {}

    def fit(self, segmenter: Segmenter, frames: Frames) -> None:
        """Learn the statistics from labelled frames; nothing happens where none are needed.

        Raises BaselineError for no frames, unknown label ids and what the network does not offer.
        """
        if self.needs_fit:
            with undisturbed(segmenter.network):
                self.fitted = self._fit(segmenter, frames)

    def score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        """Score image uint8 [N, H, W, 3] RGB, N at least 1, on the grid of the network's logits.

        Raises BaselineError before `fit` or `load_state_dict`, for another kind of image, and where
        the network lacks what the baseline needs.
        """
        if self.needs_fit and not self.fitted:
            raise BaselineError(
                f"{self.name} has learnt nothing yet: call fit() or load_state_dict()"
            )
        if image.dtype != torch.uint8 or image.ndim != 4 or 0 in image.shape or image.shape[3] != 3:
            raise BaselineError(
                f"{self.name}: the image is {image.dtype} {list(image.shape)}, "
                "it must be uint8 [N, H, W, 3]"
            )
        self.fitted = {key: value.to(segmenter.device) for key, value in self.fitted.items()}
        with undisturbed(segmenter.network):
            scored = [self._score(segmenter, frame[None]) for frame in image]
        return Scored(
            torch.cat([frame.labels for frame in scored]),
            torch.cat([frame.score for frame in scored]),
        )

    def state_dict(self) -> dict[str, Tensor]:
        """What was learnt, as plain tensors: fit for torch.load(weights_only=True)."""
        return {key: value.detach().cpu().clone() for key, value in self.fitted.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave. Raises BaselineError for other names."""
        if set(state) != set(self.state_names):
            raise BaselineError(
                f"{self.name}: the state holds {sorted(state)}, expected "
                f"{sorted(self.state_names)}; it belongs to another baseline: fit this one"
            )
        self.fitted = {key: value.detach().clone() for key, value in state.items()}

    def _fit(self, segmenter: Segmenter, frames: Frames) -> dict[str, Tensor]:
        """Statistics by the names in `state_names`, under no_grad; by default none."""
        return {}

    @abstractmethod
    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        """Score one image uint8 [1, H, W, 3], under no_grad and in evaluation mode."""


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module has its own mode back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        # A caller's inference mode would forbid the gradients that some baselines take.
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def labels_of(logits: Tensor) -> Tensor:
    """Most likely class, uint8 [N, h, w], of logits [N, C, h, w]; the first one of equals."""
    return logits.argmax(dim=1).to(torch.uint8)


DROPOUT_LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def dropouts_of(network: nn.Module) -> list[nn.Module]:
    """The network's dropout layers with a rate above 0. Raises BaselineError without any."""
    layers = [m for m in network.modules() if isinstance(m, DROPOUT_LAYERS) and m.p > 0]
    if not layers:
        raise BaselineError(
            f"{type(network).__name__} has no dropout layer with a rate above 0: Monte Carlo "
            "dropout needs a network that was trained with dropout"
        )
    return list(layers)


def features_of(segmenter: Segmenter, image: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, C, h, w] and features [N, D, h'', w''] of image uint8 [N, H, W, 3].

    Raises BaselineError for a segmenter without a feature tap.
    """
    require_features(segmenter)
    return segmenter.logits_and_features(segmenter.prepare(image))


def require_features(segmenter: Segmenter) -> None:
    """Raise BaselineError for a segmenter without a feature tap."""
    if segmenter.feature_index is None:
        raise BaselineError(
            f"{type(segmenter.network).__name__} hands out no features: give the Segmenter the "
            "feature_index of a network that returns (logits, ..., features, ...)"
        )


def void_class_of(segmenter: Segmenter) -> int:
    """The class trained on void pixels. Raises BaselineError where there is none."""
    if segmenter.void_class is None:
        raise BaselineError(
            f"{type(segmenter.network).__name__} has no void class: the void classifier needs a "
            "network that was trained with void as a class, and its index in Segmenter.void_class"
        )
    return segmenter.void_class
