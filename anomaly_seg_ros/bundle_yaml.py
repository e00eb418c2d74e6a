"""Read `bundle.yaml` into plain data, collecting every fault instead of stopping at the first."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomaly_seg_ros.bundle_parts import (
    BUNDLE_FILE,
    DTYPES,
    FITS,
    FOCUSES,
    FORMAT,
    NOT_LOOKED,
    PRECISIONS,
    RESIZES,
    TARGETS,
    ClassSpec,
    Description,
    ExternalFile,
    InputSpec,
    OperatingPoint,
    StageFile,
    StageSpec,
    TensorSpec,
)
from anomaly_seg_ros.yaml_reader import Reader, is_finite, is_name, is_whole, load_yaml

MAX_FILE_NAME = 200
MAX_SIDE = 16384  # pixels; larger network inputs are a slip of the pen
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Draft:
    """What could be read, so that the rest is checked even where something is broken."""

    input: InputSpec | None = None
    classes: tuple[ClassSpec, ...] | None = None
    stages: tuple[StageSpec, ...] | None = None  # None when any of them is broken
    files: list[tuple[str, StageFile]] = field(default_factory=list)  # with place in the yaml
    whole: Description | None = None  # None when anything is broken


def read_draft(folder: Path, faults: list[str]) -> Draft:
    """Read `folder`/bundle.yaml. Every fault found is appended to `faults`.

    Paths of stage files are made absolute but not touched: bundle_check does that.
    """
    draft = Draft()
    document = load_yaml(folder / BUNDLE_FILE, faults)
    if document is None:
        return draft
    top = Reader(document, "", faults)
    version = top.whole("format", minimum=0)
    if version is not None and version != FORMAT:
        faults.append(
            f"format: found {version}, this release reads {FORMAT}: export the bundle again or "
            "install the release that wrote it"
        )
        return draft  # nothing else can be judged by the rules of another version
    draft.input = _input(top.mapping("input"))
    draft.classes = top.parts("classes", read_class)
    draft.stages = top.parts("stages", lambda entry: _stage(entry, folder, draft.files))
    score = top.mapping("score")
    values: dict[str, Any] = {
        "format": version,
        "name": top.text("name"),
        "method": top.text("method"),
        "paper": top.text("paper"),
        "source": top.text("source"),
        "input": draft.input,
        "classes": draft.classes,
        "stages": draft.stages,
        "score_display": _display(score),
        "reference_quantiles": _quantiles(score),
        "operating_points": _operating_points(top.mapping("operating_points")),
        "provenance": top.free("provenance"),
    }
    score.done()
    top.done()
    if all(value is not None for value in values.values()):
        draft.whole = Description(**values)
    return draft


def _input(entry: Reader) -> InputSpec | None:
    height = entry.whole("height", 1, MAX_SIDE)
    width = entry.whole("width", 1, MAX_SIDE)
    fit = entry.choice("fit", FITS)
    resize = entry.choice("resize", RESIZES, "bilinear")
    antialias = entry.flag("antialias", True)
    entry.done()
    if height is None or width is None or fit is None or resize is None or antialias is None:
        return None
    return InputSpec(height, width, fit, resize, antialias)


def read_class(entry: Reader) -> ClassSpec | None:
    """A class of a list of classes."""
    number = entry.whole("id", 0, NOT_LOOKED - 1)
    name = entry.text("name")
    color = entry.checked("color", "three whole numbers 0 to 255 (RGB)", _is_color)
    drivable = entry.flag("drivable", False)
    if number is None or name is None or color is None or drivable is None:
        return None
    return ClassSpec(number, name, (color[0], color[1], color[2]), drivable)


def _stage(entry: Reader, folder: Path, found: list[tuple[str, StageFile]]) -> StageSpec | None:
    name = entry.checked("name", "a name of letters, digits and underscores", is_name)
    inputs = entry.checked("inputs", "a list of tensor names that is not empty", _are_names)
    outputs = entry.parts("outputs", _tensor)
    files = entry.parts("files", lambda file: _file(file, folder, found))
    if name is None or inputs is None or outputs is None or files is None:
        return None
    return StageSpec(name, tuple(inputs), outputs, files)


def _tensor(entry: Reader) -> TensorSpec | None:
    name = entry.checked("name", "a name of letters, digits and underscores", is_name)
    dtype = entry.choice("dtype", DTYPES)
    shape = entry.checked("shape", "a list of whole numbers, the first of them 1 (N)", _is_shape)
    if name is None or dtype is None or shape is None:
        return None
    return TensorSpec(name, dtype, tuple(shape))


def _file(entry: Reader, folder: Path, found: list[tuple[str, StageFile]]) -> StageFile | None:
    precision = entry.choice("precision", PRECISIONS)
    target = entry.choice("for", TARGETS, "any")
    data = _external(entry, folder)
    parity = entry.free("parity")
    external = entry.parts(
        "external", lambda part: _external(part, folder), default=[], allow_empty=True
    )
    if precision is None or target is None or data is None or parity is None or external is None:
        return None
    file = StageFile(precision, target, data.path, data.sha256, parity, external)
    found.append((entry.where, file))
    return file


def _external(entry: Reader, folder: Path) -> ExternalFile | None:
    name = entry.checked(
        "file",
        f"a file name of at most {MAX_FILE_NAME} characters",
        lambda v: isinstance(v, str) and 0 < len(v) <= MAX_FILE_NAME and "\0" not in v,
    )
    digest = entry.checked(
        "sha256",
        "64 hexadecimal digits in quotes",
        lambda v: isinstance(v, str) and SHA256.fullmatch(v) is not None,
    )
    if name is None or digest is None:
        return None
    return ExternalFile(folder / name, digest)


def _display(score: Reader) -> tuple[float, float] | None:
    value = score.checked(
        "display",
        "two finite numbers, the lower first",
        lambda v: _are_finite(v) and len(v) == 2 and v[0] < v[1],
    )
    return None if value is None else (float(value[0]), float(value[1]))


def _quantiles(score: Reader) -> tuple[float, ...] | None:
    value = score.checked(
        "reference_quantiles",
        "a list of finite numbers that never falls",
        lambda v: _are_finite(v) and all(a <= b for a, b in itertools.pairwise(v)),
        default=[],
    )
    return None if value is None else tuple(float(v) for v in value)


def _operating_points(entry: Reader) -> dict[str, OperatingPoint] | None:
    points: dict[str, OperatingPoint] = {}
    broken = entry.missing
    for name in list(entry.values):
        point = _operating_point(str(name), entry.mapping(name))
        broken = broken or point is None
        if point is not None:
            points[str(name)] = point
    if not entry.missing and "default" not in entry.values:
        names = ", ".join(str(name) for name in entry.values) or "nothing"
        entry.faults.append(
            f"operating_points: found {names}, expected one of them to be named default"
        )
    return None if broken else points


def _operating_point(name: str, entry: Reader) -> OperatingPoint | None:
    threshold = entry.number("threshold")
    rule = entry.text("rule")
    data = entry.text("data")
    focus = entry.choice("focus", FOCUSES, "everywhere")
    min_region = entry.whole("min_region", 0, default=0)
    entry.done()
    if threshold is None or rule is None or data is None or focus is None or min_region is None:
        return None
    return OperatingPoint(name, threshold, rule, data, focus, min_region)


def _are_finite(value: Any) -> bool:
    return isinstance(value, list) and all(is_finite(v) for v in value)


def _is_color(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(is_whole(v) and 0 <= v <= 255 for v in value)
    )


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(is_whole(v) and v > 0 for v in value)
        and value[0] == 1
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(is_name(v) for v in value)
