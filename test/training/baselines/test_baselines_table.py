"""The table of baselines, and what all of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_segmenters import CLASSES, images, labelled_frames, segmenter_of, tiny_segmenter

from training.baselines import BASELINES, Baseline, BaselineError, make_baseline
from training.baselines.deep_ensemble import DeepEnsemble
from training.baselines.mahalanobis import Mahalanobis
from training.segmenter import Segmenter

each_baseline = pytest.mark.parametrize("name", BASELINES)


def made(name: str, segmenter: Segmenter) -> Baseline:
    return make_baseline(name, segmenter, others=[tiny_segmenter(9)], seed=1)


def full_segmenter() -> Segmenter:
    return tiny_segmenter(void_class=CLASSES - 1)


def fitted(name: str, segmenter: Segmenter) -> Baseline:
    baseline = made(name, segmenter)
    baseline.fit(segmenter, labelled_frames())
    return baseline


@each_baseline
def test_a_batch_scores_as_its_frames_do_in_any_order(name: str) -> None:
    segmenter = full_segmenter()
    baseline = fitted(name, segmenter)
    batch = baseline.score(segmenter, images())
    assert batch.labels.dtype == torch.uint8 and batch.score.dtype == torch.float32
    assert batch.labels.shape == batch.score.shape == (3, 8, 12)
    assert batch.score.isfinite().all()
    for index in (2, 0, 1):
        alone = baseline.score(segmenter, images()[index : index + 1])
        assert torch.equal(alone.score[0], batch.score[index])
        assert torch.equal(alone.labels[0], batch.labels[index])


@each_baseline
def test_a_baseline_comes_back_from_its_saved_state(name: str, tmp_path: Path) -> None:
    segmenter = full_segmenter()
    baseline = fitted(name, segmenter)
    torch.save(baseline.state_dict(), tmp_path / "state.pt")
    again = made(name, segmenter)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    expected = baseline.score(segmenter, images(1)).score
    assert torch.equal(again.score(segmenter, images(1)).score, expected)


@each_baseline
def test_the_table_knows_which_baselines_learn(name: str) -> None:
    baseline = made(name, full_segmenter())
    assert baseline.needs_fit == ("fit" in BASELINES[name].needs)
    assert baseline.name == name
    if baseline.needs_fit:
        with pytest.raises(BaselineError, match=f"{name} has learnt nothing yet"):
            baseline.score(full_segmenter(), images(1))


@each_baseline
def test_the_network_comes_back_as_it_was(name: str) -> None:
    segmenter = full_segmenter()
    segmenter.network.train()
    before = {key: value.clone() for key, value in segmenter.network.state_dict().items()}
    fitted(name, segmenter).score(segmenter, images(1))
    assert all(module.training for module in segmenter.network.modules())
    for key, value in segmenter.network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("need", "segmenter", "message"),
    [
        ("dropout", tiny_segmenter(rate=0.0), "no dropout layer"),
        ("features", segmenter_of(tiny_segmenter().network), "no features"),
        ("void class", tiny_segmenter(), "no void class"),
        ("several checkpoints", tiny_segmenter(), "at least two checkpoints"),
    ],
)
def test_a_network_that_lacks_something_is_told_so(need, segmenter, message) -> None:
    names = [name for name, recipe in BASELINES.items() if need in recipe.needs]
    assert names
    for name in names:
        with pytest.raises(BaselineError, match=f"^{name}: .*{message}"):
            make_baseline(name, segmenter)


def test_a_feature_baseline_refuses_a_network_without_features() -> None:
    with pytest.raises(BaselineError, match="no features"):
        Mahalanobis().fit(segmenter_of(tiny_segmenter().network), labelled_frames())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BaselineError, match=r"no baseline 'softmax'.*max_softmax, max_logit"):
        make_baseline("softmax", tiny_segmenter())


def test_a_state_of_another_baseline_is_refused() -> None:
    segmenter = full_segmenter()
    state = fitted("knn", segmenter).state_dict()
    with pytest.raises(BaselineError, match=r"holds \['bank'\], expected \['centres'"):
        made("mahalanobis", segmenter).load_state_dict(state)


@pytest.mark.parametrize(
    "image",
    [images().float(), images()[0], images().permute(0, 3, 1, 2), images()[:0]],
    ids=["float", "no batch", "channels first", "empty"],
)
def test_other_images_are_refused(image) -> None:
    with pytest.raises(BaselineError, match=r"must be uint8 \[N, H, W, 3\]"):
        made("max_softmax", full_segmenter()).score(tiny_segmenter(), image)


def test_no_frames_and_strange_frames_are_refused() -> None:
    segmenter, (image, label) = full_segmenter(), labelled_frames(1)[0]
    pasted = np.where(label == 255, 254, label).astype(np.uint8)
    for name in ("temperature", "knn"):
        with pytest.raises(BaselineError, match="no frames"):
            made(name, segmenter).fit(segmenter, [])
        with pytest.raises(BaselineError, match=r"id 254, the network has classes 0\.\.4"):
            made(name, segmenter).fit(segmenter, [(image, pasted)])
        with pytest.raises(BaselineError, match="a label is"):
            made(name, segmenter).fit(segmenter, [(image, label[1:])])


def test_a_state_does_not_change_with_its_baseline() -> None:
    segmenter = full_segmenter()
    baseline = fitted("standardized_max_logit", segmenter)
    state = baseline.state_dict()
    before = state["mean"].clone()
    baseline.fit(segmenter, labelled_frames(seed=8))
    assert torch.equal(state["mean"], before)
    assert not torch.equal(baseline.state_dict()["mean"], before)


def test_an_ensemble_of_a_network_with_itself_scores_as_the_network() -> None:
    segmenter = full_segmenter()
    twice = DeepEnsemble([segmenter]).score(segmenter, images()).score
    once = made("entropy", segmenter).score(segmenter, images()).score
    torch.testing.assert_close(twice, once, atol=1e-6, rtol=0)
