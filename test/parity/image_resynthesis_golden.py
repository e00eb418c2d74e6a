"""Seeded networks of Image Resynthesis' published kinds, in torch and exported.

Every network goes through the door of the published checkpoints, `training.weights.build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import seeded
import torch
from torch import Tensor, nn

from training.export import OPSET
from training.methods.obsnet.published import IMAGENET_MEAN, IMAGENET_STD
from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.pix2pixhd import to_uint8
from training.weights import build

METHOD = "image_resynthesis"
LOGITS, PROBABILITIES = 1e-3, 1e-4  # suggested with the vectors, absolute

VARIANTS = ["discrepancy_full_0521", "discrepancy_gen_only_0516", "discrepancy_labels_only_0517"]

Golden = Mapping[str, np.ndarray]


def state_dict(manifest: str) -> dict[str, Tensor]:
    """Seeded weights, changed as the vectors' README says."""
    state = seeded.seeded_state(METHOD, manifest)
    if manifest.startswith("rbm"):
        state["linear_layer.weight"] *= 0.3
        state["bias_visible"] = 0.02 * (state["bias_visible"] - 1)
    if manifest.startswith("pspnet"):
        for key in (key for key in state if key.endswith("bn3.weight")):
            state[key] *= 0.2
    return state


def network(manifest: str) -> nn.Module:
    return build(f"{METHOD}/{manifest}", state_dict(manifest))


def normalised(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W]."""
    return seeded.normalised(image, IMAGENET_MEAN, IMAGENET_STD)


def pixels(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W] in 0..255."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def discrepancy_inputs(discrepancy: nn.Module, golden: Golden) -> list[Tensor]:
    """What this variant reads, in its order."""
    prepared = {
        "image": lambda: normalised(golden["image"]),
        "synthesis": lambda: normalised(golden["gen"]),
        "labels": lambda: torch.from_numpy(golden["labels"])[None],
    }
    assert isinstance(discrepancy, DiscrepancyNetwork)
    return [prepared[name]() for name in discrepancy.reads]


def assert_same_image(found: Tensor, golden: Golden) -> None:
    """Generator's output [3, H, W] in -1..1, and its grey levels, which may differ by one."""
    seeded.assert_near(found, golden["gen_raw"], PROBABILITIES)
    seeded.assert_near(to_uint8(found).permute(1, 2, 0), golden["gen_image_u8"], 1)


def exported(
    network: nn.Module, inputs: Sequence[Tensor], folder: Path
) -> onnxruntime.InferenceSession:
    """The network as a graph for inputs of these sizes, opened in ONNX Runtime."""
    file = folder / "network.onnx"
    torch.onnx.export(
        network,
        tuple(inputs),
        file,
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    return onnxruntime.InferenceSession(file)


def answers(session: onnxruntime.InferenceSession, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """What a graph gives for inputs in its own order."""
    names = (entry.name for entry in session.get_inputs())
    return session.run(None, dict(zip(names, (each.numpy() for each in inputs), strict=True)))
