"""Bundle: the folder that holds a trained method, opened only when everything in it fits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.bundle_check import check_draft
from anomaly_seg_ros.bundle_parts import (
    BUNDLE_FILE,
    FORMAT,
    NOT_LOOKED,
    ClassSpec,
    Description,
    InputSpec,
    OperatingPoint,
    StageFile,
    StageSpec,
    TensorSpec,
)
from anomaly_seg_ros.bundle_writer import write_draft
from anomaly_seg_ros.bundle_yaml import read_draft
from anomaly_seg_ros.class_map import ClassMap
from anomaly_seg_ros.errors import BundleError

__all__ = [
    "BUNDLE_FILE",
    "DEFAULT_BUNDLE",
    "FORMAT",
    "NOT_LOOKED",
    "Bundle",
    "ClassSpec",
    "InputSpec",
    "OperatingPoint",
    "StageFile",
    "StageSpec",
    "TensorSpec",
    "shipped_bundles",
    "write_bundle",
]

DEFAULT_BUNDLE = "street_obsnet_lite"
SHIPPED = Path(__file__).resolve().parent / "bundles"


@dataclass(frozen=True)
class Bundle(Description):
    """A checked bundle. Make one with `Bundle.open`, never by hand."""

    folder: Path = Path()
    class_map: ClassMap | None = None  # of `with_classes`; then `classes` are the user's

    @classmethod
    def open(cls, name_or_folder: str | Path) -> Bundle:
        """Open a shipped bundle by its name or any bundle by its folder, and check all of it.

        A string that equals a shipped name means the shipped bundle; write `./NAME` for a folder
        of that name. Checked: the yaml, every hash, the chain of tensors, and names, dtypes and
        shapes of every ONNX graph. Nothing of the bundle is executed.
        Raises BundleError listing every fault with what was found, expected and the mend.
        """
        folder = _find(name_or_folder)
        faults: list[str] = []
        draft = read_draft(folder, faults)
        check_draft(folder, draft, faults)
        description = draft.whole
        if faults or description is None:
            lines = "\n".join(f"  - {fault}" for fault in faults)
            noun = "fault" if len(faults) == 1 else "faults"
            raise BundleError(f"bundle {folder} has {len(faults)} {noun}:\n{lines}")
        values = {f.name: getattr(description, f.name) for f in fields(description)}
        return cls(folder=folder, **values)

    def with_classes(self, path: str | Path) -> Bundle:
        """The bundle with a user's own classes: `ClassMap.read`, which says what the file holds.

        Raises BundleError for a file that does not fit.
        """
        class_map = ClassMap.read(path, self.network_classes)
        return replace(self, classes=class_map.classes, class_map=class_map)

    @property
    def network_classes(self) -> tuple[ClassSpec, ...]:
        """What the ids in the tensor `labels` mean, whatever classes the user sees."""
        return self.classes if self.class_map is None else self.class_map.network

    def outputs(self) -> dict[str, TensorSpec]:
        """All tensors that any stage makes, in the order they are made."""
        return {spec.name: spec for stage in self.stages for spec in stage.outputs}

    def maker(self, tensor: str) -> StageSpec:
        """The stage that makes a tensor. Raises BundleError when none does."""
        for stage in self.stages:
            if tensor in (spec.name for spec in stage.outputs):
                return stage
        raise BundleError(
            f"bundle {self.name} makes no {tensor}; it makes {', '.join(self.outputs())}"
        )

    def palette(self) -> np.ndarray:
        """Class colours as uint8 [256, 3] RGB, row = class id; black where there is no class."""
        palette = np.zeros((256, 3), np.uint8)
        for entry in self.classes:
            palette[entry.id] = entry.color
        return palette

    def class_names(self) -> dict[int, str]:
        """Class id -> name."""
        return {entry.id: entry.name for entry in self.classes}


def shipped_bundles() -> list[str]:
    """Names of the bundles that come with the package, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{BUNDLE_FILE}"))


def write_bundle(
    folder: Path,
    *,
    description: Mapping[str, Any],
    stage_files: Mapping[str, Mapping[str, Path]],
) -> Bundle:
    """Write `description` and its graphs as a bundle into `folder` and open it.

    `description` is the content of bundle.yaml; its stages need no `files`. `stage_files` maps
    stage name -> precision -> ONNX file, where the precision may name a backend too:
    "int8@onnxruntime-cpu". A `files` entry of the description with the same precision and `for`
    adds its `parity`. Graphs become STAGE.onnx (fp32) or STAGE.PRECISION[.TARGET].onnx.

    The bundle is built and checked next to `folder` first; on a fault `folder` stays as it was.
    Other files in it (MODEL_CARD.md) are kept; bundle.yaml changes last, in one step.
    Raises BundleError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        draft = Path(name)
        write_draft(draft, description, stage_files)
        Bundle.open(draft)
        folder.mkdir(exist_ok=True)
        for path in sorted(draft.iterdir(), key=lambda p: p.name == BUNDLE_FILE):
            path.replace(folder / path.name)
    return Bundle.open(folder)


def _find(name_or_folder: str | Path) -> Path:
    shipped = shipped_bundles()
    if isinstance(name_or_folder, str) and name_or_folder in shipped:
        return SHIPPED / name_or_folder
    folder = Path(name_or_folder).expanduser()
    if str(name_or_folder) and folder.is_dir():
        return folder.resolve()
    what = f"{folder} is a file" if folder.is_file() else f"there is no folder {folder}"
    names = ", ".join(shipped) if shipped else "none"
    raise BundleError(
        f"no bundle {str(name_or_folder)!r}: {what}; give the folder that holds {BUNDLE_FILE} "
        f"or a shipped name ({names})"
    )
