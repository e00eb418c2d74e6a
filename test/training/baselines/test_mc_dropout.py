"""Monte Carlo dropout: masks, measures and what it leaves alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_segmenters import (
    SIZE,
    TinyNetwork,
    entropy,
    images,
    network_of,
    segmenter_of,
    softmax,
    tiny_segmenter,
)
from torch import nn

from training.baselines.base import BaselineError
from training.baselines.mc_dropout import MCDropout, dropping
from training.baselines.samples import (
    Samples,
    class_variance,
    mutual_information,
    predictive_entropy,
)


def test_the_score_is_the_entropy_of_the_mean_over_dropped_passes() -> None:
    segmenter, passes, rate = tiny_segmenter(), 6, 0.3
    net = copy.deepcopy(network_of(segmenter)).double()
    generator = torch.Generator().manual_seed(5)
    prepared = segmenter.prepare(images(1)).double()
    shapes = ((1, 6, 1, 1), (1, 6, SIZE[0] // 2, SIZE[1] // 2))
    answers = []
    with torch.no_grad():
        plain = net(prepared)[0]
        for _ in range(passes):
            channels, cells = (
                torch.empty(shape).bernoulli_(1 - rate, generator=generator).double() / (1 - rate)
                for shape in shapes
            )
            early = torch.tanh(net.norm(net.stem(prepared))) * channels
            answers.append(4 * net.head(torch.tanh(net.body(early)) * cells))
    mean = softmax(torch.stack(answers).numpy(), axis=2).mean(axis=0)
    scored = MCDropout(passes, seed=5).score(segmenter, images(1))
    np.testing.assert_allclose(scored.score.numpy(), entropy(mean), atol=1e-5)
    assert torch.equal(scored.labels.long(), plain.argmax(dim=1))


def test_masks_drop_their_share_and_keep_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    for layer, shape in (
        (nn.Dropout(0.25), (1, 1, 100, 100)),
        (nn.Dropout2d(0.25), (100, 100, 2, 2)),
    ):
        with dropping(layer.eval(), generator):
            dropped = layer(torch.ones(shape))
        assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
        assert sorted(set(dropped.unique().tolist())) == pytest.approx([0.0, 1 / 0.75])
        if isinstance(layer, nn.Dropout2d):
            assert torch.equal(dropped.amin(dim=(2, 3)), dropped.amax(dim=(2, 3)))


def test_a_rate_of_one_drops_everything() -> None:
    layer = nn.Dropout(1.0).eval()
    with dropping(layer, torch.Generator()):
        assert (layer(torch.ones(4)) == 0).all()


@pytest.mark.parametrize("training", [False, True])
def test_modes_statistics_and_hooks_stay_as_they_were(training: bool) -> None:
    segmenter = tiny_segmenter()
    network = network_of(segmenter).train(training)
    network.norm.eval()
    before = copy.deepcopy(network.state_dict())
    expected = MCDropout(4).score(tiny_segmenter(), images(1)).score
    assert torch.equal(MCDropout(4).score(segmenter, images(1)).score, expected)
    assert network.training is network.cells.training is training
    assert network.norm.training is False
    assert not network.cells._forward_hooks
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_scores_depend_on_the_seed_alone() -> None:
    segmenter = tiny_segmenter()
    baseline = MCDropout(4, seed=3)
    first = baseline.score(segmenter, images()).score
    torch.rand(5)
    assert torch.equal(baseline.score(segmenter, images()).score, first)
    assert not torch.equal(MCDropout(4, seed=4).score(segmenter, images()).score, first)


def test_mutual_information_is_small_where_dropout_hardly_drops() -> None:
    little, much = (
        MCDropout(20, measure=mutual_information).score(tiny_segmenter(rate=rate), images(1)).score
        for rate in (0.01, 0.5)
    )
    assert little.mean() < 0.1 * much.mean()


def test_classes_may_be_those_of_the_mean() -> None:
    segmenter, found = tiny_segmenter(rate=0.6), []

    def measure(samples: Samples) -> torch.Tensor:
        found.append(samples.probabilities.argmax(dim=1))
        return class_variance(samples)

    scored = MCDropout(6, measure=measure, mean_labels=True).score(segmenter, images(1))
    plain = MCDropout(6, measure=measure).score(segmenter, images(1))
    assert torch.equal(scored.labels.long(), found[0])
    assert torch.equal(scored.score, plain.score)
    assert not torch.equal(scored.labels, plain.labels)


class InPlace(nn.Module):
    """Works in place on what comes before its dropout; one layer runs on both sides of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
        self.shared = nn.Conv2d(4, 4, 1)
        self.cells = nn.Dropout(0.5)
        self.head = nn.Conv2d(4, 19, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        early = self.shared(self.stem(image).mul_(2))
        return self.head(self.shared(self.cells(early)))


def test_what_comes_before_dropout_is_computed_once_and_changes_nothing() -> None:
    torch.manual_seed(0)
    network = InPlace().eval()
    segmenter = segmenter_of(network)
    prepared, runs = segmenter.prepare(images(1)), []
    network.stem[0].register_forward_hook(lambda *_: runs.append(1))
    samples = Samples.like(network(prepared))
    with torch.no_grad(), dropping(network, torch.Generator().manual_seed(0)):
        for _ in range(8):
            samples.add(network(prepared))
    assert len(runs) == 9
    scored = MCDropout(8).score(segmenter, images(1))
    assert torch.equal(scored.score, predictive_entropy(samples))
    assert len(runs) == 11  # the plain pass and the first one with dropout
    assert "forward" not in vars(network.stem)
    network.stem.forward = patched = network.stem.forward
    MCDropout(2).score(segmenter, images(1))
    assert vars(network.stem)["forward"] is patched


def test_a_network_without_dropout_is_refused() -> None:
    with pytest.raises(BaselineError, match="no dropout layer"):
        MCDropout().score(tiny_segmenter(rate=0.0), images(1))


def test_a_network_that_skips_its_dropout_is_refused() -> None:
    class Forgetful(TinyNetwork):
        def forward(self, image):
            return self.head(self.body(self.stem(image)))

    segmenter = segmenter_of(Forgetful())
    with pytest.raises(BaselineError, match="no dropout layer of Forgetful ran"):
        MCDropout(2).score(segmenter, images(1))
    assert not network_of(segmenter).cells._forward_hooks
