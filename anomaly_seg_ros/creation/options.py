"""What a user says of a network that its file does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import BundleError

LAYOUTS = ("nchw", "nhwc")
RANGES = {"0..1": 1.0, "0..255": 255.0}
CHANNELS = ("rgb", "bgr")


@dataclass(frozen=True)
class Preprocessing:
    """How the network wants its image: ((pixel scaled to `range`) - mean) / std, per channel.

    mean and std are in the units of `range` and in the order of `channels`.
    Raises BundleError for unknown choices, a std of 0 or numbers that are not finite.
    """

    layout: str = "nchw"  # one of LAYOUTS
    channels: str = "rgb"  # one of CHANNELS
    range: str = "0..1"  # one of RANGES
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for found, choices in (
            (self.layout, LAYOUTS),
            (self.channels, CHANNELS),
            (self.range, tuple(RANGES)),
        ):
            if found not in choices:
                raise BundleError(f"found {found!r}, expected one of {', '.join(choices)}")
        if not np.isfinite((*self.mean, *self.std)).all() or min(self.std) <= 0:
            raise BundleError(
                f"mean {self.mean} and std {self.std}: expected finite numbers, and std above 0"
            )

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8 [1, H, W, 3] RGB to float32 in the network's layout: what the graph must equal."""
        pixels = image.astype(np.float64) * (RANGES[self.range] / 255)
        pixels = pixels[..., ::-1] if self.channels == "bgr" else pixels
        pixels = (pixels - self.mean) / self.std
        ordered = pixels.transpose(0, 3, 1, 2) if self.layout == "nchw" else pixels
        return np.ascontiguousarray(ordered, np.float32)

    @property
    def scale(self) -> np.ndarray:
        """float32 [3]: pixel * scale + offset is what the network gets."""
        return np.float32(RANGES[self.range] / 255 / np.asarray(self.std))

    @property
    def offset(self) -> np.ndarray:
        """float32 [3], see `scale`."""
        return np.float32(-np.asarray(self.mean) / np.asarray(self.std))

    def __str__(self) -> str:
        text = f"{self.channels.upper()} {self.layout.upper()} float32 in {self.range}"
        if any(self.mean):
            text += f", minus {', '.join(f'{value:g}' for value in self.mean)}"
        if any(value != 1 for value in self.std):
            text += f", divided by {', '.join(f'{value:g}' for value in self.std)}"
        return text


@dataclass(frozen=True)
class Wishes:
    """Everything `anomaly-seg bundle create` is told, the model and the folder apart."""

    score: str  # a rule of creation.scores, or "output:NAME"
    size: tuple[int, int] | None = None  # (H, W) of the network's input
    preprocessing: Preprocessing = Preprocessing()
    fit: str = "squash"
    name: str | None = None  # of the bundle
    threshold: float | None = None
    logits: str | None = None  # tensor of class scores; with "output:NAME" it may hold class ids
