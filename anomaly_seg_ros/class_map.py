"""A user's own classes in place of the network's: merged, renumbered, renamed, recoloured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.bundle_parts import NOT_LOOKED, ClassSpec
from anomaly_seg_ros.bundle_yaml import read_class
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.yaml_reader import Reader, load_yaml

REST = "rest"  # in place of a list of names: every class of the network that no other entry takes


@dataclass(frozen=True, eq=False)
class ClassMap:
    """classes: as people and messages see them. network: the network's own. table: uint8 [256], the
    network's id -> the user's; 255, where the network did not look, stays 255."""

    classes: tuple[ClassSpec, ...]
    network: tuple[ClassSpec, ...]
    table: np.ndarray

    @property
    def identity(self) -> str:
        """What tells class maps apart: 16 hexadecimal digits."""
        return hashlib.sha256(repr(self.classes).encode() + self.table.tobytes()).hexdigest()[:16]

    @classmethod
    def read(cls, path: str | Path, network: Sequence[ClassSpec]) -> ClassMap:
        """Read a YAML file for a network of these classes:

            classes:
              - {id: 0, name: other, color: [0, 0, 0], from: rest}
              - {id: 1, name: road, color: [128, 64, 128], from: [road, parking]}

        Each class of the network goes into one of them; one entry may take the rest. What is
        drivable stays the network's affair. Raises BundleError listing every fault.
        """
        path = Path(path).expanduser()
        faults: list[str] = []
        document = load_yaml(path, faults)
        names = [entry.name for entry in network]
        classes: tuple[tuple[ClassSpec, list[str] | str], ...] = ()
        if document is not None:
            top = Reader(document, "", faults)
            classes = top.parts("classes", lambda entry: _entry(entry, names)) or ()
            top.done()
        if not faults:
            faults += _uncovered(classes, names)
        if faults:
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise BundleError(f"class map {path} does not fit this network:\n{lines}")
        taken = {name for _, source in classes if source != REST for name in source}
        table = np.full(256, NOT_LOOKED, np.uint8)
        for spec, source in classes:
            for entry in network:
                if entry.name not in taken if source == REST else entry.name in source:
                    table[entry.id] = spec.id
        return cls(tuple(spec for spec, _ in classes), tuple(network), table)


def _entry(entry: Reader, names: Sequence[str]) -> tuple[ClassSpec, list[str] | str] | None:
    spec = read_class(entry)
    source = entry.checked(
        "from",
        f"{REST}, or a list of the network's classes: {', '.join(names)}",
        lambda value: value == REST or _are_among(value, names),
    )
    return None if spec is None or source is None else (spec, source)


def _are_among(value: Any, names: Sequence[str]) -> bool:
    return isinstance(value, list) and bool(value) and all(name in names for name in value)


def _uncovered(
    classes: Sequence[tuple[ClassSpec, list[str] | str]], names: Sequence[str]
) -> list[str]:
    """What stands twice, and what stands nowhere."""
    faults = []
    taken = [name for _, source in classes if source != REST for name in source]
    named: dict[str, list[Any]] = {
        "id": [spec.id for spec, _ in classes],
        "name": [spec.name for spec, _ in classes],
        "class of the network": taken,
        "from": [REST for _, source in classes if source == REST],
    }
    for what, values in named.items():
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            faults.append(f"{what} {', '.join(twice)} stands twice, expected once")
    left = [name for name in names if name not in taken]
    if left and not any(source == REST for _, source in classes):
        faults.append(
            f"found no entry for {', '.join(left)}: name them in a `from`, or give one entry "
            f"`from: {REST}`"
        )
    return faults
