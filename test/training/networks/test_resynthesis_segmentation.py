"""Bayesian SegNet and PSPNet as Image Resynthesis trained them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from training.networks.bayesian_segnet import DROPPED, BayesianSegNet
from training.networks.pspnet import CellMeans, PSPNet
from training.networks.reflection import centred, margins_to, reflected


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def narrow() -> BayesianSegNet:
    """Untrained, with answers that depend on the image."""
    network = BayesianSegNet(5, width=1 / 16).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return network


@pytest.mark.parametrize("size", [(64, 96), (45, 70), (33, 12)])
def test_logits_of_bayesian_segnet_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    logits = narrow()(torch.randn(2, 3, *size))

    assert logits.shape == (2, 5, *size)
    assert logits.std() > 0


def test_an_image_is_answered_as_its_reflected_whole() -> None:
    network, image = narrow(), torch.randn(1, 3, 45, 70)
    whole = functional.pad(image, (13, 13, 9, 10), mode="reflect")

    logits = network(image)

    assert torch.equal(logits, network(whole)[..., 9:54, 13:83])


def test_repeated_units_are_one_set_of_weights_with_all_their_keys() -> None:
    network = narrow()

    units = [network.get_submodule(f"dec5.{index}") for index in (1, 4, 7, 10)]
    keys = set(network.state_dict())

    assert all(unit is units[0] for unit in units)
    assert {"dec5.10.weight", "dec4.decode.7.weight", "dec3.decode.4.weight"} <= keys
    assert {"dec2.decode.4.bias", "dec1.decode.5.running_var"} <= keys
    assert not any(key.startswith(("dec2.decode.7", "dropout")) for key in keys)


def test_of_unequal_weights_of_a_repeated_unit_the_last_ones_are_loaded() -> None:
    network = narrow()
    state = {key: torch.randn(value.shape) for key, value in network.state_dict().items()}

    network.load_state_dict(state)

    loaded = network.state_dict()
    assert torch.equal(loaded["dec5.1.weight"], state["dec5.10.weight"])
    assert torch.equal(loaded["dec4.decode.5.running_var"], state["dec4.decode.8.running_var"])
    assert torch.equal(loaded["dec3.decode.4.bias"], state["dec3.decode.7.bias"])


def test_dropout_alone_in_training_mode_drops_whole_channels() -> None:
    network, image = narrow(), torch.randn(1, 3, 64, 96)
    plain = network(image)
    dropped: dict[str, torch.Tensor] = {}
    network.dropout.train()
    for name in DROPPED:
        network.dropout[name].register_forward_hook(
            lambda _, __, output, name=name: dropped.update({name: output})
        )

    assert not torch.equal(network(image), plain)
    silent = [(values == 0).all(dim=(2, 3)).float().mean() for values in dropped.values()]
    assert list(dropped) == list(DROPPED)
    assert torch.stack(silent).mean() > 0.25
    network.eval()
    assert torch.equal(network(image), plain)


@pytest.mark.parametrize("size", [(8, 16), (9, 13), (4, 5)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_cell_means_are_those_of_adaptive_pooling(cells: int, size: tuple[int, int]) -> None:
    values = torch.randn(2, 3, *size)

    means = CellMeans(cells)(values)

    torch.testing.assert_close(means, functional.adaptive_avg_pool2d(values, cells))


def test_pspnet_answers_at_stride_8_enlarged_to_any_size() -> None:
    network, image = PSPNet(5).eval(), torch.randn(1, 3, 45, 70)
    strides = []
    network.layer4.register_forward_hook(lambda _, __, output: strides.append(output.shape[-2:]))

    logits = network(image)
    again, auxiliary = network.with_auxiliary(image)

    assert logits.shape == auxiliary.shape == (1, 5, 45, 70)
    assert strides[0] == (6, 9)
    assert torch.equal(again, logits)
    assert not torch.equal(auxiliary, logits)


@pytest.mark.parametrize("size", [(32, 64), (33, 65), (47, 63)])
def test_the_smaller_half_of_the_margins_goes_left_and_top(size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size)

    margins = margins_to(32, image)
    bordered = reflected(image, margins)

    assert 0 <= margins.right - margins.left <= 1 and 0 <= margins.bottom - margins.top <= 1
    assert bordered.shape[-2] % 32 == bordered.shape[-1] % 32 == 0
    assert torch.equal(centred(bordered, margins), image)
