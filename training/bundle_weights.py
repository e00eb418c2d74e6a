"""Weights of a bundle back into a training network: fine-tuning where there is no checkpoint.

An exported graph has its batch norms folded into the convolutions before them. They are unfolded
here with statistics measured on real images, so that the network answers as the bundle does and
trains on as a normalised network should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from anomaly_seg_ros.bundle import StageSpec
from anomaly_seg_ros.errors import BundleError


def load_folded(network: nn.Module, stage: StageSpec) -> None:
    """Give `network` the weights of a stage's fp32 graph; batch norms only add the folded shift.

    Raises BundleError naming what the graph lacks or holds in another shape.
    """
    tensors = _initialisers(stage)
    faults = []

    def take(name: str, parameter: Tensor) -> None:
        value = tensors.get(name)
        if value is None or value.shape != parameter.shape:
            found = "missing" if value is None else list(value.shape)
            faults.append(f"{name}: {found}, expected {list(parameter.shape)}")
        else:
            parameter.data.copy_(value)

    for name, convolution, norm in _convolutions(network):
        take(f"{name}.weight", convolution.weight)
        if convolution.bias is not None:
            take(f"{name}.bias", convolution.bias)
        if norm is not None:
            mean, variance = _statistics(norm)
            mean.zero_()
            variance.fill_(1 - norm.eps)
            norm.weight.data.fill_(1)
            take(f"{name}.weight_bias", norm.bias)
    if faults:
        raise BundleError(
            f"stage {stage.name} is no graph of a {type(network).__name__}: {'; '.join(faults[:5])}"
        )


def row_lengths(network: nn.Module) -> dict[str, Tensor]:
    """Length of each row of the convolutions before a batch norm, float32 [out], by name."""
    return {
        name: convolution.weight.detach().flatten(1).norm(dim=1)
        for name, convolution, norm in _convolutions(network)
        if norm is not None
    }


@torch.no_grad()
def unfold_norms(
    network: nn.Module, answers: Iterable[object], lengths: Mapping[str, Tensor]
) -> None:
    """Measure what reaches each batch norm while `answers` is drawn, and let the norm remove it.

    answers: draws from it run the network on real images. Afterwards the network answers as before
    in evaluation mode. Rows of the convolutions are scaled to `lengths`, those of a network that
    starts its training: under a batch norm they only set how fast the rows learn.
    """
    pairs = [(name, c, n) for name, c, n in _convolutions(network) if n is not None]
    moments: dict[str, list[Tensor]] = {name: [] for name, _, _ in pairs}

    def note(name: str, values: Tensor) -> None:
        mean, square = values.mean(dim=(0, 2, 3)), values.square().mean(dim=(0, 2, 3))
        moments[name].append(torch.stack((mean, square)).double())

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, _, norm in pairs
    ]
    network.eval()
    for _ in answers:
        pass
    for hook in hooks:
        hook.remove()
    for name, convolution, norm in pairs:
        mean, square = torch.stack(moments[name]).mean(dim=0)
        variance = (square - mean.square()).clamp(min=1e-8)
        norm.bias.add_(mean.float())
        norm.weight.copy_((variance + norm.eps).sqrt())
        length = convolution.weight.flatten(1).norm(dim=1)
        scale = (lengths[name] / length.clamp(min=1e-6)).clamp(0.02, 50).double()
        # A variance below zero cannot be written: (variance + eps) * scale^2 >= eps.
        scale = torch.maximum(scale, (norm.eps / (variance + norm.eps)).sqrt())
        convolution.weight.mul_(scale.float()[:, None, None, None])
        kept_mean, kept_variance = _statistics(norm)
        kept_mean.copy_(mean * scale)
        kept_variance.copy_(((variance + norm.eps) * scale.square() - norm.eps).clamp(min=1e-12))


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance."""
    assert norm.running_mean is not None and norm.running_var is not None  # ours keep them
    return norm.running_mean, norm.running_var


def _initialisers(stage: StageSpec) -> dict[str, Tensor]:
    """Tensors of a stage's fp32 graph by their torch names, float32; stored halves are cast up."""
    [file] = [file for file in stage.files if file.precision == "fp32"]
    tensors = {}
    for initialiser in onnx.load(file.path).graph.initializer:
        name = initialiser.name.removesuffix("_half").removeprefix("network.")
        values = numpy_helper.to_array(initialiser)
        if values.dtype in (np.float16, np.float32):
            tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors


def _convolutions(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]]:
    """Each convolution with its name and the batch norm that follows it, in module order."""
    modules = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    followers = [module for _, module in modules[1:]] + [None]
    for (name, module), after in zip(modules, followers, strict=True):
        if isinstance(module, nn.Conv2d):
            yield name, module, after if isinstance(after, nn.BatchNorm2d) else None
