"""Anomaly scores that any trained segmenter gives: the table of them, and how one is made.

Scores of the logits alone are stages (`max_softmax.py` ...) and can be exported; the others need
the network (`odin.py` ...). `base.py` is their contract, `post_hoc.py` makes baselines of stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from training.baselines.base import (
    Baseline,
    BaselineError,
    Frames,
    Scored,
    dropouts_of,
    require_features,
    void_class_of,
)
from training.baselines.deep_ensemble import DeepEnsemble
from training.baselines.direct_prediction import DirectPrediction
from training.baselines.energy import Energy
from training.baselines.entropy import Entropy
from training.baselines.gaussian_perturbation import GaussianPerturbation
from training.baselines.knn import KNearest
from training.baselines.mahalanobis import Mahalanobis
from training.baselines.margin import Margin
from training.baselines.max_logit import MaxLogit
from training.baselines.max_softmax import MaxSoftmax
from training.baselines.mc_dropout import FEW_PASSES, MCDropout
from training.baselines.mcda import MCDA
from training.baselines.odin import Odin
from training.baselines.post_hoc import PostHoc
from training.baselines.samples import class_variance, mutual_information
from training.baselines.standardized_max_logit import Refinement, StandardizedMaxLogit
from training.baselines.temperature import Temperature
from training.baselines.void_classifier import VoidClassifier
from training.segmenter import Segmenter

__all__ = [
    "BASELINES",
    "Baseline",
    "BaselineError",
    "Frames",
    "Given",
    "Need",
    "Recipe",
    "Scored",
    "make_baseline",
]

Need = Literal[
    "logits", "network", "fit", "dropout", "features", "void class", "several checkpoints"
]


@dataclass(frozen=True)
class Given:
    """What a baseline is made for: a segmenter, further ones for an ensemble, and a seed."""

    segmenter: Segmenter
    others: Sequence[Segmenter] = ()
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """How a baseline is made, what it needs, and what it is in a line."""

    needs: tuple[Need, ...]
    about: str
    make: Callable[[Given], Baseline]


BASELINES: dict[str, Recipe] = {
    # Post-hoc scores: stages on the logits, exportable.
    "max_softmax": Recipe(
        ("logits",), "1 - max softmax probability", lambda given: PostHoc(MaxSoftmax())
    ),
    "max_logit": Recipe(("logits",), "minus the largest logit", lambda given: PostHoc(MaxLogit())),
    "entropy": Recipe(("logits",), "softmax entropy, 0..1", lambda given: PostHoc(Entropy())),
    "energy": Recipe(("logits",), "minus logsumexp of the logits", lambda given: PostHoc(Energy())),
    "margin": Recipe(("logits",), "1 - (p1 - p2)", lambda given: PostHoc(Margin())),
    "temperature": Recipe(
        ("logits", "fit"),
        "1 - max softmax at a temperature fitted on held-out labels",
        lambda given: PostHoc(Temperature(seed=given.seed)),
    ),
    "standardized_max_logit": Recipe(
        ("logits", "fit"),
        "max logit, standardised per predicted class",
        lambda given: PostHoc(StandardizedMaxLogit()),
    ),
    "standardized_max_logit_refined": Recipe(
        ("logits", "fit"),
        "the same with boundary suppression and smoothing, for logits at stride 4",
        lambda given: PostHoc(StandardizedMaxLogit(Refinement.at_stride(4))),
    ),
    "void_classifier": Recipe(
        ("logits", "void class"),
        "probability of the class trained on void",
        lambda given: PostHoc(VoidClassifier(void_class_of(given.segmenter))),
    ),
    # Scores that run the network again.
    "odin": Recipe(
        ("network",), "max softmax after a step towards the predicted class", lambda given: Odin()
    ),
    "odin_official": Recipe(
        ("network",),
        "ODIN as the ObsNet release computes it: towards class 0 everywhere",
        lambda given: Odin(official_bug=True),
    ),
    "mc_dropout": Recipe(
        ("network", "dropout"),
        "entropy of the mean of 50 dropout passes",
        lambda given: MCDropout(seed=given.seed),
    ),
    "mc_dropout_mutual_information": Recipe(
        ("network", "dropout"),
        "what 50 dropout passes disagree about",
        lambda given: MCDropout(measure=mutual_information, seed=given.seed),
    ),
    "mc_dropout_variance": Recipe(
        ("network", "dropout"),
        "summed class variance of 16 dropout passes, classes by their mean",
        lambda given: MCDropout(
            FEW_PASSES, measure=class_variance, mean_labels=True, seed=given.seed
        ),
    ),
    "mcda": Recipe(
        ("network",),
        "entropy of the mean over 25 colour-jittered images",
        lambda given: MCDA(seed=given.seed),
    ),
    "gaussian_perturbation": Recipe(
        ("network",),
        "entropy of the mean of 50 passes with noise on the weights",
        lambda given: GaussianPerturbation(seed=given.seed),
    ),
    "deep_ensemble": Recipe(
        ("network", "several checkpoints"),
        "entropy of the mean of networks trained apart",
        lambda given: DeepEnsemble(given.others),
    ),
    "deep_ensemble_variance": Recipe(
        ("network", "several checkpoints"),
        "summed class variance of networks trained apart",
        lambda given: DeepEnsemble(given.others, measure=class_variance),
    ),
    # Scores of the features.
    "mahalanobis": Recipe(
        ("features", "fit"),
        "distance to the nearest class Gaussian of the features",
        lambda given: Mahalanobis(),
    ),
    "knn": Recipe(
        ("features", "fit"),
        "distance to the 10th nearest training feature",
        lambda given: KNearest(seed=given.seed),
    ),
    "direct_prediction": Recipe(
        ("features", "fit"),
        "a small head that predicts where the network is right, with max softmax",
        lambda given: DirectPrediction(seed=given.seed),
    ),
}


def make_baseline(
    name: str, segmenter: Segmenter, *, others: Sequence[Segmenter] = (), seed: int = 0
) -> Baseline:
    """The baseline `name` of the table, not fitted yet.

    Raises BaselineError for an unknown name, and where the network lacks dropout, features or a
    void class, or an ensemble its other members.
    """
    if name not in BASELINES:
        raise BaselineError(f"there is no baseline {name!r}; known are: {', '.join(BASELINES)}")
    recipe = BASELINES[name]
    try:
        if "dropout" in recipe.needs:
            dropouts_of(segmenter.network)
        if "features" in recipe.needs:
            require_features(segmenter)
        baseline = recipe.make(Given(segmenter, others, seed))
    except BaselineError as error:
        raise BaselineError(f"{name}: {error}") from error
    baseline.name = name  # what messages and results call it
    return baseline
