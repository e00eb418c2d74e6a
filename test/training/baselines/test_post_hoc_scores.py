"""Scores on logits against their formulas in double precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny_segmenters import (
    FixedAnswer,
    entropy,
    images,
    segmenter_of,
    softmax,
    tiny_segmenter,
    vectors,
)

from training.baselines.energy import Energy
from training.baselines.entropy import Entropy
from training.baselines.margin import Margin
from training.baselines.max_logit import MaxLogit
from training.baselines.max_softmax import MaxSoftmax
from training.baselines.post_hoc import PostHoc
from training.baselines.standardized_max_logit import Refinement, StandardizedMaxLogit
from training.baselines.temperature import Temperature
from training.baselines.void_classifier import VoidClassifier
from training.stage import Stage


def margin(logits: np.ndarray) -> np.ndarray:
    ordered = np.sort(softmax(logits), axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def energy(logits: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.asarray(logits, np.float64) / temperature
    top = scaled.max(axis=1)
    return -temperature * (top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)))


FORMULAS: list[tuple[Stage, Callable[[np.ndarray], np.ndarray]]] = [
    (MaxSoftmax(), lambda logits: 1 - softmax(logits).max(axis=1)),
    (MaxLogit(), lambda logits: -logits.max(axis=1)),
    (Entropy(), lambda logits: entropy(softmax(logits))),
    (Energy(), lambda logits: energy(logits, 1.0)),
    (Energy(temperature=2.5), lambda logits: energy(logits, 2.5)),
    (Margin(), margin),
    (Temperature(1.7), lambda logits: 1 - softmax(logits / 1.7).max(axis=1)),
    (VoidClassifier(2), lambda logits: softmax(logits)[:, 2]),
]
each_formula = pytest.mark.parametrize(
    ("stage", "formula"), FORMULAS, ids=lambda value: getattr(value, "name", "")
)
LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.integers(3, 6), st.integers(1, 3), st.integers(1, 3)),
    # Few distinct values: many ties.
    elements=st.one_of(st.sampled_from([-3.0, 0.0, 3.0, 40.0]), st.floats(-60, 60, width=32)),
)


@each_formula
@given(LOGITS)
@settings(deadline=None, max_examples=40)
def test_scores_follow_their_formula(stage, formula, logits) -> None:
    score = stage(torch.from_numpy(logits))
    assert score.dtype == torch.float32
    assert score.shape == (logits.shape[0], *logits.shape[2:])
    np.testing.assert_allclose(score.numpy(), formula(logits), rtol=2e-6, atol=2e-6)


@each_formula
def test_huge_logits_give_finite_scores(stage, formula) -> None:
    logits = torch.zeros(1, 5, 2, 2)
    logits[0, 0, 0, 0], logits[0, 1, 0, 0] = 1e30, -1e30
    logits[0, :, 0, 1] = 3e37
    logits[0, :, 1, 0] = -3e37
    logits[0, 4, 1, 1] = -3e38
    assert stage(logits).isfinite().all()


@pytest.mark.parametrize("stage", [MaxSoftmax(), Entropy(), Margin()], ids=lambda s: s.name)
def test_equal_logits_are_the_most_doubtful_and_one_class_far_ahead_the_least(stage) -> None:
    logits = torch.zeros(1, 4, 1, 2)
    logits[0, 0, 0, 1] = 1e4
    tied, sure = stage(logits)[0, 0]
    assert sure == 0
    assert tied == pytest.approx(0.75 if isinstance(stage, MaxSoftmax) else 1.0)


def test_scores_agree_with_the_obsnet_release() -> None:
    golden = vectors("obsnet", "scores_segnet_camvid")
    logits = torch.from_numpy(golden["seg_logits"])
    classes = logits.shape[1]
    np.testing.assert_allclose(MaxSoftmax()(logits)[0], golden["mcp"], atol=1e-6)
    np.testing.assert_allclose(Temperature(1.2)(logits)[0], golden["temp_scale_T1.2"], atol=1e-6)
    nats = Entropy()(logits)[0] * np.log(classes)
    np.testing.assert_allclose(nats, golden["entropy_softmax"], atol=1e-6)
    # The release ranks by the raw logit: times the softmax denominator, the probability is its exp.
    void = VoidClassifier(classes - 1)(logits)[0].log() + logits.logsumexp(dim=1)[0]
    np.testing.assert_allclose(void, golden["void_logit"], atol=1e-5)


def test_a_stage_scores_a_segmenters_logits() -> None:
    segmenter = tiny_segmenter()
    scored = PostHoc(MaxLogit()).score(segmenter, images())
    logits = segmenter.logits(segmenter.prepare(images())).detach()
    assert scored.labels.dtype == torch.uint8
    assert torch.equal(scored.labels.long(), logits.argmax(dim=1))
    torch.testing.assert_close(scored.score, -logits.amax(dim=1))


def test_tied_classes_are_labelled_with_the_first() -> None:
    tied = np.zeros((1, 4, 2, 2), np.float32)
    scored = PostHoc(MaxSoftmax()).score(segmenter_of(FixedAnswer(tied)), images(1))
    assert (scored.labels == 0).all()


def refined() -> StandardizedMaxLogit:
    stage = StandardizedMaxLogit(Refinement(width=3, step=1, dilation=2))
    stage.mean, stage.deviation = torch.linspace(-1, 1, 5), torch.linspace(0.5, 2, 5)
    return stage


@pytest.mark.parametrize(
    "stage", [Entropy(), Margin(), Temperature(1.7), refined()], ids=lambda s: s.name
)
def test_exported_stages_answer_as_torch_does(stage: Stage, tmp_path: Path) -> None:
    torch.manual_seed(0)
    logits = 5 * torch.nn.functional.interpolate(torch.randn(2, 5, 4, 4), scale_factor=4)
    file = tmp_path / "stage.onnx"
    torch.onnx.export(
        stage.eval(),
        (logits,),
        file,
        input_names=["logits"],
        output_names=["score"],
        dynamo=True,
        opset_version=18,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for other in (logits, logits.flip(0).contiguous(), 1e4 * logits):
        (score,) = session.run(["score"], {"logits": other.numpy()})
        np.testing.assert_allclose(score, stage(other).numpy(), rtol=1e-5, atol=1e-5)
