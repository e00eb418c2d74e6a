"""Direct prediction: SynthCP's loss, training, score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_segmenters import images, labelled_frames, outputs, softmax, tiny_segmenter, vectors

from training.baselines.base import BaselineError
from training.baselines.direct_prediction import CorrectnessHead, DirectPrediction, confidence_loss


def test_the_loss_agrees_with_synthcp() -> None:
    golden = vectors("synthcp", "metrics_losses")
    labels = torch.from_numpy(golden["loss_label"].astype(np.int64))
    labels[labels == 19] = 255
    answer = torch.from_numpy(golden["loss_conf"][:, 0]).double().logit()
    loss = confidence_loss(torch.from_numpy(golden["loss_logits"]).double(), labels, answer)
    assert float(loss) == pytest.approx(float(golden["loss_confidence"]), rel=1e-6)


def test_the_loss_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    logits, answer = rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((2, 3, 5))
    labels = rng.choice([0, 1, 2, 3, 255], (2, 3, 5))
    confidence, probabilities = 1 / (1 + np.exp(-answer)), softmax(logits)
    right = probabilities.argmax(axis=1) == labels
    each = -np.where(right, np.log(confidence), np.log(1 - confidence))
    expected = (each * (labels != 255) * probabilities.max(axis=1) ** 2).mean()
    found = confidence_loss(*(torch.from_numpy(a) for a in (logits, labels, answer)))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_score_joins_the_heads_word_with_the_max_softmax() -> None:
    segmenter = tiny_segmenter()
    baseline = DirectPrediction(seed=3)
    baseline.fit(segmenter, labelled_frames())
    head = CorrectnessHead(6)
    head.load_state_dict(baseline.state_dict())
    logits, features = (m.T.reshape(1, -1, 8, 12) for m in outputs(segmenter, images(1)[0].numpy()))
    with torch.no_grad():
        word = head.double()(torch.from_numpy(features)).sigmoid()[:, 0].numpy()
    expected = 1 - (word + softmax(logits).max(axis=1)) / 2
    scored = baseline.score(segmenter, images(1))
    np.testing.assert_allclose(scored.score.numpy(), expected, atol=1e-6)


def answered_frames(segmenter, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames where the network is wrong wherever it predicts its favourite class."""
    frames = []
    for image, _ in labelled_frames(count):
        logits = outputs(segmenter, image)[0]
        label = logits.argmax(axis=1).reshape(8, 12).astype(np.uint8)
        favourite = np.bincount(label.ravel()).argmax()
        label[label == favourite] = (favourite + 1) % 5
        frames.append((image, label.repeat(2, axis=0).repeat(2, axis=1)))
    return frames


def test_training_raises_the_score_where_the_network_errs() -> None:
    segmenter = tiny_segmenter()
    frames = answered_frames(segmenter, 8)
    baseline = DirectPrediction(passes=15, learning_rate=1e-2)
    baseline.fit(segmenter, frames)
    image, label = frames[0]
    scored = baseline.score(segmenter, torch.from_numpy(image)[None])
    msp = 1 - softmax(outputs(segmenter, image)[0]).max(axis=1).reshape(8, 12)
    word = 2 * scored.score[0].numpy() - msp  # 1 - conf
    wrong = label[1::2, 1::2] != scored.labels[0].numpy()
    assert 0.1 < wrong.mean() < 0.9
    assert word[wrong].mean() > 0.7 > 0.3 > word[~wrong].mean()


def test_training_depends_on_the_seed_alone_and_leaves_the_network() -> None:
    segmenter = tiny_segmenter()
    before = {key: value.clone() for key, value in segmenter.network.state_dict().items()}
    state = torch.random.get_rng_state()
    fitted = []
    for seed in (1, 1, 2):
        baseline = DirectPrediction(seed=seed)
        baseline.fit(segmenter, labelled_frames())
        fitted.append(baseline.state_dict())
    assert all(torch.equal(fitted[0][key], fitted[1][key]) for key in fitted[0])
    assert not torch.equal(fitted[0]["0.weight"], fitted[2]["0.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)
    for key, value in segmenter.network.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None for p in segmenter.network.parameters())


def test_several_passes_over_an_iterator_are_refused() -> None:
    with pytest.raises(BaselineError, match="give a sequence"):
        DirectPrediction(passes=2).fit(tiny_segmenter(), iter(labelled_frames()))
