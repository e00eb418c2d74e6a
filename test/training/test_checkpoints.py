"""Checkpoints of the light ObsNet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.checkpoints import CheckpointError, open_obsnet, open_segmenter
from training.networks.light_observer import LightObserver
from training.networks.light_pyramid import LightPyramid


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    parts = {"segmentation": LightPyramid(), "observer": LightObserver()}
    return {
        f"{part}.{key}": value
        for part, network in parts.items()
        for key, value in network.state_dict().items()
    }


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "final.ckpt")
    return folder / "final.ckpt"


def test_networks_come_back_in_evaluation_mode(state, tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": state, "epoch": 3})
    for part, network in zip(("segmentation", "observer"), open_obsnet(path), strict=True):
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, state[f"{part}.{key}"])


def test_a_segmenter_prepares_images_as_the_network_was_trained(state, tmp_path: Path) -> None:
    segmenter = open_segmenter(saved(tmp_path, {"state_dict": state}))
    image = torch.randint(0, 256, (1, 384, 768, 3), dtype=torch.uint8)
    expected = (image.permute(0, 3, 1, 2).float() - 127) / 128
    torch.testing.assert_close(segmenter.prepare(image), expected)
    with torch.no_grad():
        logits, features = segmenter.logits_and_features(segmenter.prepare(image))
    assert logits.shape == (1, 19, 96, 192) and features.shape == (1, 96, 96, 192)


def test_missing_unexpected_and_reshaped_tensors_are_named_together(state, tmp_path: Path) -> None:
    other = dict(state)
    del other["observer.head.bias"]
    other["discriminator.weight"] = torch.zeros(1)
    other["segmentation.head.bias"] = torch.zeros(11)
    with pytest.raises(CheckpointError) as error:
        open_obsnet(saved(tmp_path, {"state_dict": other}))
    message = str(error.value)
    assert "1 missing: observer.head.bias" in message
    assert "1 unexpected: discriminator.weight" in message
    assert "1 of another shape: segmentation.head.bias [11] instead of [19]" in message
    assert "python -m training fit" in message


def test_another_networks_checkpoint_gives_a_short_message(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": {f"conv{i}": torch.zeros(1) for i in range(50)}})
    with pytest.raises(
        CheckpointError, match=r"50 unexpected: conv0, conv1, conv2 \.\.\."
    ) as error:
        open_segmenter(path)
    assert len(str(error.value)) < 600


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    for name in ("missing.ckpt", "text.ckpt", "empty.ckpt"):
        with pytest.raises(CheckpointError, match=f"{name} is no (checkpoint|file)"):
            open_segmenter(tmp_path / name)


@pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"state_dict": 3}])
def test_files_without_a_state_dict_are_refused(content, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no state_dict: found|holds a "):
        open_segmenter(saved(tmp_path, content))
