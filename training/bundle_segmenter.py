"""A bundle's segmentation as a `Segmenter`: baselines on logits and features of shipped files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.classes import CITYSCAPES as CITYSCAPES_CLASSES
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.imaging import Fitting
from training.data.label_spaces import BY_NAME, CITYSCAPES, LabelSpace
from training.segmenter import Segmenter


class BundleNetwork(nn.Module):
    """uint8-valued float32 [1, 3, H, W] -> logits, and the first features_* tensor if there is one.

    Without parameters or gradients: what perturbs weights or images needs a checkpoint.
    """

    def __init__(self, runner: Runner, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.runner, self.outputs = runner, outputs
        self.register_buffer("place", torch.zeros(1))

    def forward(self, prepared: Tensor) -> tuple[Tensor, ...]:
        if prepared.requires_grad:
            raise BundleError("a bundle's graphs give no gradients: use a checkpoint instead")
        image = prepared.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
        arrays = self.runner.run(image, self.outputs).arrays
        return tuple(torch.from_numpy(np.array(arrays[name])) for name in self.outputs)


class BundleSegmenter(Segmenter):
    """Fits images as the bundle says, exactly as the Detector does.

    Raises BundleError for a bundle that hands out no logits.
    """

    def __init__(self, bundle: Bundle, **runner_options: object) -> None:
        if "logits" not in bundle.outputs():
            raise BundleError(
                f"bundle {bundle.name} hands out no logits ({', '.join(bundle.outputs())}): "
                "baselines need them"
            )
        features = [name for name in bundle.outputs() if name.startswith("features_")]
        runner = load_runner(bundle, **runner_options)  # type: ignore[arg-type]
        super().__init__(
            network=BundleNetwork(runner, ("logits", *features[:1])),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            size=(bundle.input.height, bundle.input.width),
            space=space_of(bundle),
            void_class=_void_class(bundle),
            feature_index=1 if features else None,
        )
        self.bundle = bundle
        self._fitting = lru_cache(maxsize=8)(self._make_fitting)

    @property
    def device(self) -> torch.device:
        """The runner's tensors come down to the CPU."""
        return torch.device("cpu")

    def prepare(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, h, w] in 0..255: the graph normalises."""
        fitting = self._fitting((image.shape[1], image.shape[2]))
        fitted = np.stack([fitting.fit(frame) for frame in image.numpy()])
        return torch.from_numpy(fitted).permute(0, 3, 1, 2).float()

    def restore(self, grid: np.ndarray, size: tuple[int, int], *, fill: float) -> np.ndarray:
        return self._fitting(size).restore(np.ascontiguousarray(grid), nearest=False, fill=fill)

    def _make_fitting(self, size: tuple[int, int]) -> Fitting:
        spec = self.bundle.input
        return Fitting(size, (spec.height, spec.width), spec.fit, spec.antialias)


def space_of(bundle: Bundle) -> LabelSpace:
    """The largest known label space whose class names the bundle's begin with; else one of its own
    that folds nowhere.

    Classes beyond those of the space, such as a trained void, are none of it. Case, blanks and
    underscores do not count.
    """
    names = [entry.name for entry in bundle.classes]
    known = [(_plain(name for _, name, _ in CITYSCAPES_CLASSES), CITYSCAPES)]
    known += [(_plain(space.names), space) for space in BY_NAME.values()]
    for begun, space in sorted(known, key=lambda entry: -len(entry[0])):
        if _plain(names)[: len(begun)] == begun:
            return space
    return LabelSpace(bundle.name, tuple(() for _ in names), tuple(names))


def _void_class(bundle: Bundle) -> int | None:
    """Index of a class void beyond those of the bundle's label space."""
    beyond = range(len(space_of(bundle).names), len(bundle.classes))
    return next((index for index in beyond if bundle.classes[index].name == "void"), None)


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower().replace("_", "").replace(" ", "") for name in names)
