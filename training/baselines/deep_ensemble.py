"""Deep ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from torch import Tensor

from training.baselines.base import Baseline, BaselineError, Scored, labels_of, undisturbed
from training.baselines.samples import Measure, Samples, predictive_entropy
from training.segmenter import Segmenter


class DeepEnsemble(Baseline):
    """A measure over networks trained apart (Lakshminarayanan et al., NeurIPS 2017).

    The scored segmenter and the `others` each prepare the image their own way; the labels are those
    of the mean softmax. `class_variance` is the uncertainty that Image Resynthesis compares with.
    """

    name = "deep_ensemble"

    def __init__(
        self, others: Sequence[Segmenter], *, measure: Measure = predictive_entropy
    ) -> None:
        """Raises BaselineError where there are no others."""
        super().__init__()
        if not others:
            raise BaselineError("an ensemble needs at least two checkpoints, found one: give more")
        self.others, self.measure = tuple(others), measure

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        samples = None
        with ExitStack() as stack:
            for member in self.others:
                stack.enter_context(undisturbed(member.network))
            for member in (segmenter, *self.others):
                logits = member.logits(member.prepare(image)).to(segmenter.device)
                samples = samples or Samples.like(logits)
                if logits.shape != samples.logits.shape:
                    raise BaselineError(
                        f"the members of an ensemble answer with {list(samples.logits.shape)} and "
                        f"{list(logits.shape)}: use checkpoints of one network at one size"
                    )
                samples.add(logits)
        assert samples is not None  # the segmenter itself is a member
        return Scored(labels_of(samples.probabilities), self.measure(samples))
