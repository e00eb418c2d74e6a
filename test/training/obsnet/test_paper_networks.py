"""How the paper's networks start, run fast, and are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training.methods.obsnet.paper_networks import (
    FAMILIES,
    VGG_CONVOLUTIONS,
    Networks,
    frozen,
    observe,
    start_observer,
    start_segmentation,
    with_indices,
)
from training.networks.light_pyramid import LightPyramid
from training.networks.pyramid_observer import PyramidObserver, PyramidSegmentation
from training.networks.segnet import SegNet
from training.networks.segnet_observer import SegNetObserver
from training.weights import WeightsError

SMALL = Networks(width=1 / 16, size=(40, 72), observed=True)


def lively(network: nn.Module) -> nn.Module:
    """With statistics in its batch norms as training leaves them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize("width", [1.0, 0.0625])
def test_the_observer_starts_from_all_but_the_last_block(width: float) -> None:
    with torch.device("meta" if width == 1 else "cpu"):
        segmentation, observer = SegNet(width=width), SegNetObserver(width=width)
    before = {key: value.clone() for key, value in observer.state_dict().items()}
    if width == 1:
        expected = [key for key in segmentation.state_dict() if not key.startswith("up1.conv2")]
        assert len(expected) == len(segmentation.state_dict()) - 7
        return
    lively(segmentation)
    copied = start_observer(observer, segmentation)
    source = segmentation.state_dict()
    assert set(copied) == {key for key in source if not key.startswith("up1.conv2.")}
    for key, value in observer.state_dict().items():
        assert torch.equal(value, source[key] if key in copied else before[key])


def test_pooling_by_indices_changes_nothing_at_odd_sizes() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 45, 70)
    plain = lively(SMALL.segmentation())
    fast = SMALL.segmentation()
    fast.load_state_dict(plain.state_dict())
    with_indices(fast).eval()
    for expected, found in zip(plain(image), fast(image), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_frozen_copy_answers_the_same_and_learns_nothing() -> None:
    torch.manual_seed(0)
    network = lively(SMALL.segmentation())
    copy = frozen(network)
    image = torch.randn(1, 3, 40, 72)
    for expected, found in zip(network(image), copy(image), strict=True):
        assert ((found - expected).abs() > 1e-4).float().mean() < 1e-3  # near-ties of pooling
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_ablations_feed_zeros() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 40, 72)
    segmentation, whole = lively(SMALL.segmentation()), lively(SMALL.observer())
    segmented = segmentation(image)
    zeros = [torch.zeros_like(tap) for tap in segmented[1:]]
    for switched, expected in (
        ({"image": False}, whole(torch.zeros_like(image), *segmented[1:])),
        ({"taps": False}, whole(image, *zeros)),
        ({}, whole(image, *segmented[1:])),
    ):
        ablated = Networks(width=1 / 16, observed=True, **switched).observer().eval()
        ablated.load_state_dict(whole.state_dict())
        found = observe(ablated, image, segmented, SegNet.taps)
        torch.testing.assert_close(found, expected)


def test_what_a_checkpoint_holds_comes_back() -> None:
    assert Networks.of_checkpoint({Networks.KEY: SMALL.as_plain()}) == SMALL
    assert Networks.of_checkpoint({"state_dict": {}}) is None
    assert set(FAMILIES) == {"segnet", "segnet_small", "deeplabv3plus", "deepwv3plus", "pyramid"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_segmentation_and_an_observer_that_fit(family: str) -> None:
    with torch.device("meta"):
        networks = Networks(family, observed=True)
        segmentation, observer = networks.segmentation(), networks.observer()
        image = torch.zeros(2, 3, 64, 96)
        segmented = segmentation(image)
        logit = observe(observer, image, segmented, type(segmentation).taps)
    assert segmented[0].shape == (2, 12, 64, 96) and logit.shape == (2, 1, 64, 96)
    assert segmented[FAMILIES[family]].ndim == 4


@pytest.mark.parametrize("kept", ["run", "published", "parallel"])
def test_a_segmentation_starts_from_runs_and_published_files(kept: str, tmp_path: Path) -> None:
    source, target = lively(SMALL.segmentation()), SMALL.segmentation()
    prefix = {"run": "segmentation.", "published": "", "parallel": "module."}[kept]
    state = {prefix + key: value for key, value in source.state_dict().items()}
    if kept == "run":
        state |= {f"observer.{k}": v for k, v in SMALL.observer().state_dict().items()}
    torch.save({"state_dict": state} if kept == "run" else state, tmp_path / "start.pth")
    start_segmentation(target, tmp_path / "start.pth")
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


def test_the_encoder_starts_from_a_vgg_of_torchvision(tmp_path: Path) -> None:
    network = SegNet()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)][:13]
    decoder = network.state_dict()["up5.conv1.cbr_unit.0.weight"].clone()
    state = {"classifier.0.bias": torch.zeros(1)}
    for place, convolution in zip(VGG_CONVOLUTIONS, convolutions, strict=True):
        state[f"features.{place}.weight"] = torch.full_like(convolution.weight, place)
        state[f"features.{place}.bias"] = torch.full_like(convolution.bias, -place)
    torch.save(state, tmp_path / "vgg16.pth")
    start_segmentation(network, tmp_path / "vgg16.pth")
    for place, convolution in zip(VGG_CONVOLUTIONS, convolutions, strict=True):
        assert (convolution.weight == place).all() and (convolution.bias == -place).all()
    assert torch.equal(network.state_dict()["up5.conv1.cbr_unit.0.weight"], decoder)
    with pytest.raises(WeightsError, match="width 1"):
        start_segmentation(SegNet(width=0.5), tmp_path / "vgg16.pth")


def test_weights_and_networks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save(SegNet(width=1 / 16).state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(WeightsError, match="same network, width and classes"):
        start_segmentation(SegNet(width=1 / 8), tmp_path / "narrow.pth")
    with pytest.raises(WeightsError, match="'unet' on 'camvid'; expected one of segnet"):
        Networks("unet")
    with pytest.raises(WeightsError, match="no other widths"):
        Networks("deeplabv3plus", width=0.5)


def test_an_observer_without_bound_gives_every_pixel_a_score_of_its_own() -> None:
    torch.manual_seed(0)
    networks = Networks(size=(64, 96), width=0.25, observed=True, bounded=False)
    segmentation, observer = networks.segmentation().eval(), networks.observer().eval()
    norm = observer.get_submodule("up1.conv2.cbr_unit.1")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    norm.bias.data.fill_(-9.0)  # right everywhere, in its opinion
    published = Networks(size=(64, 96), width=0.25, observed=True).observer().eval()
    published.load_state_dict(observer.state_dict())  # the same tensors, the same keys
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        taps = segmentation(image)[1:]
        free, bounded = observer(image, *taps), published(image, *taps)
    assert free.unique().numel() > 0.5 * free.numel()
    assert bounded.unique().numel() == 1
    kept = Networks.of_checkpoint({Networks.KEY: networks.as_plain()})
    assert kept == networks


def test_checkpoints_from_before_the_bound_was_a_choice_are_bounded() -> None:
    told = Networks(observed=True).as_plain()
    del told["bounded"]
    kept = Networks.of_checkpoint({Networks.KEY: told})
    assert kept is not None and kept.bounded


def test_the_pyramid_segments_as_the_light_one_of_the_same_weights() -> None:
    torch.manual_seed(0)
    light, paper = lively(LightPyramid(12)), PyramidSegmentation(12).eval()
    paper.load_state_dict(light.state_dict())
    image = torch.randn(1, 3, 64, 96)
    coarse, pyramid, stride_4, stride_8 = light(image)
    logits, *taps = paper(image)
    by_name = dict(zip(paper.taps, taps, strict=True))
    enlarged = nn.functional.interpolate(coarse, size=(64, 96), mode="bilinear")
    torch.testing.assert_close(logits, enlarged)
    torch.testing.assert_close(by_name["pyramid_4"], pyramid)
    torch.testing.assert_close(by_name["encoder_4"], stride_4)
    torch.testing.assert_close(by_name["encoder_8"], stride_8)


def test_every_tap_moves_the_pyramids_observer() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 96)
    _, *taps = lively(PyramidSegmentation(12))(image)
    observer = lively(PyramidObserver())
    with torch.no_grad():
        before = observer(image, *taps)
        for place, tap in enumerate(taps):
            others = [values if j != place else tap + 1 for j, values in enumerate(taps)]
            assert not torch.allclose(observer(image, *others), before), observer.reads[1 + place]
