"""Post-hoc scores: stages on logits, and the adapter that makes a baseline of one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping

from torch import Tensor

from training.baselines.base import Baseline, Frames, Scored, labels_of
from training.baselines.labelled import labelled_logits
from training.segmenter import Segmenter
from training.stage import Stage


class FittedStage(Stage):
    """A score on logits whose buffers are learnt from labelled frames."""

    @abstractmethod
    def fit(self, frames: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the buffers from logits float32 [1, C, h, w] and labels int64 [1, h, w], 255 void."""


class PostHoc(Baseline):
    """Runs a Stage logits -> score on the segmenter's logits."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.name = stage.name
        self.needs_fit = isinstance(stage, FittedStage)
        self.state_names = tuple(stage.state_dict()) if self.needs_fit else ()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """As Baseline."""
        super().load_state_dict(state)
        for name, value in self.fitted.items():
            setattr(self.stage, name, value)  # the sizes of buffers follow the data

    def _fit(self, segmenter: Segmenter, frames: Frames) -> dict[str, Tensor]:
        assert isinstance(self.stage, FittedStage)  # needs_fit is set for these only
        self.stage.to(segmenter.device).fit(labelled_logits(segmenter, frames))
        return self.stage.state_dict()

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        logits = segmenter.logits(segmenter.prepare(image))
        return Scored(labels_of(logits), self.stage.to(logits.device)(logits))
