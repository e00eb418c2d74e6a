"""Measures over several answers against double precision and recorded vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_segmenters import FixedAnswer, entropy, images, segmenter_of, softmax, vectors

from training.baselines.deep_ensemble import DeepEnsemble
from training.baselines.samples import (
    Samples,
    class_confidence,
    class_variance,
    entropy_of_mean_logits,
    mutual_information,
    predictive_entropy,
)


def counted(answers: np.ndarray) -> Samples:
    """answers [count, N, C, h, w]."""
    samples = Samples.like(torch.from_numpy(answers[0]))
    for logits in answers:
        samples.add(torch.from_numpy(logits))
    return samples


def random_answers(scale: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (scale * rng.standard_normal((7, 2, 5, 3, 4))).astype(np.float32)


def test_measures_follow_their_formulas() -> None:
    answers = random_answers()
    samples, probabilities = counted(answers), softmax(answers, axis=2)
    mean = probabilities.mean(axis=0)
    information = entropy(mean) - entropy(probabilities, axis=2).mean(axis=0)
    variance = probabilities.var(axis=0, ddof=1).sum(axis=1)
    pooled = softmax(answers.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(predictive_entropy(samples), entropy(mean), atol=1e-6)
    np.testing.assert_allclose(mutual_information(samples), information, atol=1e-6)
    np.testing.assert_allclose(class_variance(samples), variance, atol=1e-6)
    np.testing.assert_allclose(entropy_of_mean_logits(samples), entropy(pooled), atol=1e-6)


def test_equal_answers_disagree_about_nothing() -> None:
    samples = counted(np.repeat(random_answers()[:1], 5, axis=0))
    assert mutual_information(samples).max() < 1e-6
    assert class_variance(samples).max() < 1e-12


def test_answers_sure_of_different_classes_disagree_most() -> None:
    answers = np.full((2, 1, 2, 1, 1), -1e4, np.float32)
    answers[0, 0, 0], answers[1, 0, 1] = 1e4, 1e4
    samples = counted(answers)
    assert float(mutual_information(samples)) == pytest.approx(1.0)
    assert float(class_variance(samples)) == pytest.approx(1.0)  # n / (n - 1) * (1 - 1 / n)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_logits_give_finite_measures(scale: float) -> None:
    samples = counted(random_answers(scale))
    for measure in (predictive_entropy, mutual_information, class_variance, entropy_of_mean_logits):
        assert measure(samples).isfinite().all()


def test_dropout_statistics_agree_with_synthcp() -> None:
    golden = vectors("synthcp", "metrics_losses")
    samples = counted(golden["mcd_logit_samples"])
    nats = entropy_of_mean_logits(samples) * np.log(golden["mcd_logit_samples"].shape[2])
    np.testing.assert_allclose(-nats, golden["mcd_confidence_map"], atol=1e-6)
    np.testing.assert_allclose(class_confidence(samples), golden["mcd_class_confidence"], atol=1e-6)


def test_ensemble_variance_agrees_with_image_resynthesis() -> None:
    golden = vectors("image_resynthesis", "losses_and_ensemble")
    first, *others = (segmenter_of(FixedAnswer(logits)) for logits in golden["ens_logits"])
    scored = DeepEnsemble(others, measure=class_variance).score(first, images(1))
    np.testing.assert_array_equal(scored.labels[0], golden["ens_labels"])
    np.testing.assert_allclose(scored.score[0], golden["ens_var"], atol=1e-6)
