"""The class list of a user's network: read from a file, or one of the usual lists by name."""

from __future__ import annotations

import colorsys
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from anomaly_seg_ros.bundle_parts import NOT_LOOKED, ClassSpec
from anomaly_seg_ros.classes import CITYSCAPES
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.yaml_reader import YAML_ERRORS

# CamVid's 11 classes in the order and colours of the SegNet copy (Badrinarayanan et al., 2017).
CAMVID: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (0, "sky", (128, 128, 128)),
    (1, "building", (128, 0, 0)),
    (2, "pole", (192, 192, 128)),
    (3, "road", (128, 64, 128)),
    (4, "pavement", (60, 40, 222)),
    (5, "tree", (128, 128, 0)),
    (6, "sign", (192, 128, 128)),
    (7, "fence", (64, 64, 128)),
    (8, "car", (64, 0, 128)),
    (9, "pedestrian", (64, 64, 0)),
    (10, "bicyclist", (0, 128, 192)),
)
KNOWN = {"cityscapes": CITYSCAPES, "camvid": CAMVID}
DRIVABLE = ("road", "drivable")  # names that count as drivable where a file does not say
COLUMNS = ("id", "name", "r", "g", "b", "drivable")
YES, NO = ("1", "true", "yes", "drivable"), ("", "0", "false", "no")
GOLDEN = 0.6180339887498949  # steps of this along a circle never come close to each other
MAX_BYTES = 1 << 20
EXPECTED = (
    "a name per line, lines id,name[,r,g,b[,drivable]], or yaml with the same under `classes`; "
    f"or one of the names {', '.join(KNOWN)}"
)


def read_classes(name_or_file: str) -> tuple[ClassSpec, ...]:
    """The classes in the order of the network's output channels.

    name_or_file: `cityscapes`, `camvid`, or a file: .yaml or .yml (a list, or a mapping with the
    list under `classes`, of names or of mappings as in bundle.yaml; or a mapping id -> name), else
    text (a name per line, or comma-separated columns id, name, r, g, b, drivable; a header may name
    them). Without colours, well distinguishable ones are made; without a word on it, a class called
    road or drivable is drivable. Raises BundleError.
    """
    if name_or_file in KNOWN:
        return tuple(
            ClassSpec(number, name, color, name in DRIVABLE)
            for number, name, color in KNOWN[name_or_file]
        )
    path = Path(name_or_file)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleError(
                f"class file {path} has more than {MAX_BYTES} bytes: expected {EXPECTED}"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BundleError(
            f"class file {path} cannot be read ({error.strerror}): give {EXPECTED}"
        ) from error
    except UnicodeDecodeError as error:
        raise BundleError(f"class file {path} is not UTF-8 text: expected {EXPECTED}") from error
    entries = _yaml(path, text) if path.suffix in (".yaml", ".yml") else _lines(path, text)
    if not entries:
        raise BundleError(f"class file {path} lists no class: expected {EXPECTED}")
    return _classes(path, entries)


def _lines(path: Path, text: str) -> list[dict[str, Any]]:
    """Each line a name, or comma-separated columns, perhaps below a header."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not any("," in line for line in lines):
        return [{"name": line.strip()} for line in lines]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    columns: Sequence[str] = COLUMNS
    if not rows[0][0].isdecimal():
        columns = [cell.lower() for cell in rows.pop(0)]
        strange = [cell for cell in columns if cell not in COLUMNS]
        if strange or "name" not in columns:
            raise BundleError(
                f"class file {path}: the first line is {','.join(columns)}; expected a class, or "
                f"some of the columns {','.join(COLUMNS)}, name among them"
            )
    entries = []
    for row in rows:
        if len(row) > len(columns) or len(row) < min(2, len(columns)):
            raise BundleError(
                f"class file {path}: found the line {','.join(row)}, expected {','.join(columns)}"
            )
        entry: dict[str, Any] = dict(zip(columns, row, strict=False))
        colors = [entry.pop(key) for key in ("r", "g", "b") if entry.get(key, "") != ""]
        if colors:
            entry["color"] = colors
        entries.append(entry)
    return entries


def _yaml(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        document = yaml.safe_load(text)
    except YAML_ERRORS as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"class file {path} is no valid yaml: {reason}") from error
    if isinstance(document, Mapping) and "classes" in document:
        document = document["classes"]
    if isinstance(document, Mapping):
        document = [{"id": number, "name": name} for number, name in document.items()]
    if not isinstance(document, list):
        raise BundleError(f"class file {path} holds no list of classes: expected {EXPECTED}")
    return [dict(entry) if isinstance(entry, Mapping) else {"name": entry} for entry in document]


def _classes(path: Path, entries: list[dict[str, Any]]) -> tuple[ClassSpec, ...]:
    """Checked, by id; colours and drivable classes filled in where the file has none."""
    marked = any("drivable" in entry for entry in entries)
    found: dict[int, ClassSpec] = {}
    for index, entry in enumerate(entries):
        strange = set(entry) - {"id", "name", "color", "drivable"}
        name = entry.get("name")
        if strange or not isinstance(name, str) or not name:
            raise BundleError(
                f"class file {path}: found {entry}, expected id, name, color, drivable"
            )
        number = _number(path, name, "id", entry.get("id", index), NOT_LOOKED - 1)
        if number in found or name in (spec.name for spec in found.values()):
            raise BundleError(
                f"class file {path}: class {number} {name} stands there twice: give each class a "
                "line, an id and a name of its own"
            )
        drivable = _flag(path, name, entry["drivable"]) if "drivable" in entry else False
        if not marked:
            drivable = name.lower() in DRIVABLE
        found[number] = ClassSpec(number, name, _color(path, name, number, entry), drivable)
    if sorted(found) != list(range(len(found))):
        raise BundleError(
            f"class file {path}: found the ids {', '.join(map(str, sorted(found)))}; expected 0 to "
            f"{len(found) - 1}, each once: an id is the number of the network's output channel"
        )
    return tuple(found[number] for number in sorted(found))


def _color(path: Path, name: str, number: int, entry: Mapping[str, Any]) -> tuple[int, int, int]:
    color = entry.get("color")
    if color is None:
        return generated_color(number)
    if not isinstance(color, list) or len(color) != 3:
        raise BundleError(f"class file {path}: class {name} has the colour {color}, expected r,g,b")
    red, green, blue = (_number(path, name, "colour", value, 255) for value in color)
    return red, green, blue


def generated_color(number: int) -> tuple[int, int, int]:
    """A saturated RGB colour for a class id; neighbouring ids differ most in hue."""
    hue = number * GOLDEN % 1
    value = (1.0, 0.75, 0.5)[number // 7 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _number(path: Path, name: str, what: str, value: Any, maximum: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) > maximum:
        raise BundleError(
            f"class file {path}: class {name} has the {what} {value!r}, expected whole numbers 0 "
            f"to {maximum}"
        )
    return int(text)


def _flag(path: Path, name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in YES + NO:
        raise BundleError(
            f"class file {path}: class {name} has drivable {value!r}, expected true or false"
        )
    return text in YES
