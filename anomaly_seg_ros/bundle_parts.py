"""The parts of a bundle as plain data: what `bundle.yaml` says, once it has been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
BUNDLE_FILE = "bundle.yaml"
IMAGE = "image"  # the one tensor no stage makes: uint8 [1, H, W, 3] RGB at the bundle's input size
SYNTHESIS = "synthesis"  # float32 [1, 3, h, w] in 0..1: RGB image resynthesised from the labels

FITS = ("squash", "letterbox", "crop")
RESIZES = ("bilinear",)
FOCUSES = ("everywhere", "road")
DTYPES = ("uint8", "int8", "int32", "int64", "float16", "float32", "bool")
PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("any", "onnxruntime-cpu", "onnxruntime-cuda", "tensorrt")
NOT_LOOKED = 255  # label of pixels the network did not see: no class may have this id


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor that crosses a stage's border. `shape` is static and includes N = 1."""

    name: str
    dtype: str  # one of DTYPES
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class ExternalFile:
    """A file that holds large weights of an ONNX graph (ONNX external data)."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class StageFile:
    """One graph of a stage: `target` (yaml key `for`) says which backend it was made for."""

    precision: str  # one of PRECISIONS
    target: str  # one of TARGETS; `any` runs everywhere
    path: Path
    sha256: str
    parity: Mapping[str, Any]  # what the export measured against the trained network
    external: tuple[ExternalFile, ...] = ()


@dataclass(frozen=True)
class StageSpec:
    """One step of the method: named tensors in, named tensors out."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[TensorSpec, ...]
    files: tuple[StageFile, ...]


@dataclass(frozen=True)
class InputSpec:
    """The image the first stage wants, and how a camera image becomes one."""

    height: int
    width: int
    fit: str  # one of FITS
    resize: str = "bilinear"
    antialias: bool = True

    @property
    def image(self) -> TensorSpec:
        return TensorSpec(IMAGE, "uint8", (1, self.height, self.width, 3))


@dataclass(frozen=True)
class ClassSpec:
    """A class of the label map. `drivable` classes make up the surface of the focus `road`."""

    id: int  # 0..254
    name: str
    color: tuple[int, int, int]  # RGB, 0..255
    drivable: bool = False


@dataclass(frozen=True)
class OperatingPoint:
    """Where a score becomes an alarm: score >= threshold, narrowed by focus and region size."""

    name: str
    threshold: float
    rule: str  # how the threshold was chosen
    data: str  # on what
    focus: str = "everywhere"  # one of FOCUSES
    min_region: int = 0  # pixels of the network grid; smaller regions are dropped from the mask


@dataclass(frozen=True)
class Description:
    """Everything `bundle.yaml` says, in order of the file."""

    format: int
    name: str
    method: str
    paper: str
    source: str
    input: InputSpec
    classes: tuple[ClassSpec, ...]
    stages: tuple[StageSpec, ...]
    score_display: tuple[float, float]  # scores shown as the two ends of the heat layer
    reference_quantiles: tuple[float, ...]  # of the score on normal driving; may be empty
    operating_points: Mapping[str, OperatingPoint]
    provenance: Mapping[str, Any] = field(default_factory=dict)
