"""Read `bundle.yaml` into plain data, collecting every fault instead of stopping at the first."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

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

MAX_YAML_BYTES = 1 << 20  # a bundle of hundreds of classes needs some tens of kilobytes
MAX_SIDE = 16384  # pixels; larger network inputs are a slip of the pen
SHA256 = re.compile(r"[0-9a-f]{64}")
# PyYAML lets these through from scalars such as `!!int ""`, `2024-99-99` or 1000 open brackets.
YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

Part = TypeVar("Part")
_MISSING = object()


def read_description(folder: Path, faults: list[str]) -> Description | None:
    """The description in `folder`/bundle.yaml; None when it is too broken to make one.

    Every fault found is appended to `faults`. Paths of stage files are made absolute but not
    touched: `bundle_check.check_files` does that.
    """
    document = _load(folder / BUNDLE_FILE, faults)
    if document is None:
        return None
    top = Reader(document, BUNDLE_FILE, faults)
    version = top.whole("format", minimum=0)
    if version is not None and version != FORMAT:
        faults.append(
            f"format: found {version}, this release reads {FORMAT}: export the bundle again or "
            "install the release that wrote it"
        )
        return None  # nothing else can be judged by the rules of another version
    before = len(faults)
    score = top.mapping("score")
    values: dict[str, Any] = {
        "format": FORMAT,
        "name": top.text("name"),
        "method": top.text("method"),
        "paper": top.text("paper"),
        "source": top.text("source"),
        "input": _input(top.mapping("input")),
        "classes": top.parts("classes", _class),
        "stages": top.parts("stages", lambda entry: _stage(entry, folder)),
        "score_display": _display(score),
        "reference_quantiles": _quantiles(score),
        "operating_points": _operating_points(top.mapping("operating_points")),
        "provenance": top.free("provenance"),
    }
    score.done()
    top.done()
    if version is None or (len(faults) > before and any(v is None for v in values.values())):
        return None
    return Description(**values)


class Reader:
    """Takes typed values out of one yaml mapping; what does not fit becomes a fault.

    A method returns None (or an empty collection) after it has noted a fault, so that reading
    goes on. `done` notes keys that nobody asked for: a misspelt key must not be ignored.
    """

    def __init__(self, values: Mapping[Any, Any] | None, where: str, faults: list[str]) -> None:
        self.missing = values is None  # the fault is noted already: ask for nothing more
        self.values = values or {}
        self.where = where
        self.faults = faults
        self.asked: list[str] = []

    def path(self, key: str) -> str:
        return key if self.where == BUNDLE_FILE else f"{self.where}.{key}"

    def fault(self, key: str, found: Any, expected: str) -> None:
        shown = "nothing" if found is _MISSING else _short(found)
        self.faults.append(f"{self.path(key)}: found {shown}, expected {expected}")

    def get(self, key: str, expected: str, default: Any = _MISSING) -> Any:
        self.asked.append(key)
        value = self.values.get(key, default)
        if value is _MISSING and not self.missing:
            self.fault(key, value, expected)
        return value

    def checked(
        self, key: str, expected: str, fits: Callable[[Any], bool], default: Any = _MISSING
    ) -> Any:
        value = self.get(key, expected, default)
        if value is _MISSING:
            return None
        if not fits(value):
            self.fault(key, value, expected)
            return None
        return value

    def text(self, key: str) -> str | None:
        return self.checked(
            key, "a text that is not empty", lambda v: isinstance(v, str) and v.strip() != ""
        )

    def choice(self, key: str, options: Sequence[str], default: Any = _MISSING) -> str | None:
        expected = "one of " + ", ".join(options)
        return self.checked(key, expected, lambda v: isinstance(v, str) and v in options, default)

    def flag(self, key: str, default: bool) -> bool | None:
        return self.checked(key, "true or false", lambda v: isinstance(v, bool), default)

    def whole(
        self, key: str, minimum: int, maximum: int | None = None, default: Any = _MISSING
    ) -> int | None:
        limit = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
        return self.checked(
            key,
            f"a whole number, {limit}",
            lambda v: _is_whole(v) and v >= minimum and (maximum is None or v <= maximum),
            default,
        )

    def number(self, key: str) -> float | None:
        value = self.checked(key, "a finite number", _is_finite)
        return None if value is None else float(value)

    def numbers(self, key: str, default: Any = _MISSING) -> list[float] | None:
        value = self.checked(key, "a list of finite numbers", _are_finite, default)
        return None if value is None else [float(v) for v in value]

    def mapping(self, key: str) -> Reader:
        value = self.checked(key, "a mapping", lambda v: isinstance(v, Mapping))
        return Reader(value, self.path(key), self.faults)

    def free(self, key: str) -> Mapping[str, Any] | None:
        """A mapping whose content is the writer's own affair; absent means empty."""
        return self.checked(key, "a mapping", lambda v: isinstance(v, Mapping), default={})

    def parts(
        self,
        key: str,
        build: Callable[[Reader], Part | None],
        default: Any = _MISSING,
        allow_empty: bool = False,
    ) -> tuple[Part, ...] | None:
        """A list of mappings, each built into a part; None when any of them is broken."""
        expected = "a list of mappings" + ("" if allow_empty else " that is not empty")
        value = self.checked(
            key, expected, lambda v: isinstance(v, list) and (allow_empty or bool(v)), default
        )
        if value is None:
            return None
        built: list[Part | None] = []
        for index, entry in enumerate(value):
            where = f"{self.path(key)}[{_entry_name(entry, index)}]"
            if not isinstance(entry, Mapping):
                self.faults.append(f"{where}: found {_short(entry)}, expected a mapping")
                built.append(None)
                continue
            reader = Reader(entry, where, self.faults)
            built.append(build(reader))
            reader.done()
        whole = tuple(part for part in built if part is not None)
        return whole if len(whole) == len(built) else None

    def done(self) -> None:
        for key in self.values:
            if key not in self.asked:
                self.faults.append(
                    f"{self.path(str(key))}: unknown key; known here: {', '.join(self.asked)}"
                )


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


def _class(entry: Reader) -> ClassSpec | None:
    number = entry.whole("id", 0, NOT_LOOKED - 1)
    name = entry.text("name")
    color = entry.checked("color", "three whole numbers 0 to 255 (RGB)", _is_color)
    drivable = entry.flag("drivable", False)
    if number is None or name is None or color is None or drivable is None:
        return None
    return ClassSpec(number, name, (color[0], color[1], color[2]), drivable)


def _stage(entry: Reader, folder: Path) -> StageSpec | None:
    name = entry.checked("name", "a name of letters, digits and underscores", _is_name)
    inputs = entry.checked("inputs", "a list of tensor names that is not empty", _are_names)
    outputs = entry.parts("outputs", _tensor)
    files = entry.parts("files", lambda file: _file(file, folder))
    if name is None or inputs is None or outputs is None or files is None:
        return None
    return StageSpec(name, tuple(inputs), outputs, files)


def _tensor(entry: Reader) -> TensorSpec | None:
    name = entry.checked("name", "a name of letters, digits and underscores", _is_name)
    dtype = entry.choice("dtype", DTYPES)
    shape = entry.checked("shape", "a list of whole numbers, the first of them 1 (N)", _is_shape)
    if name is None or dtype is None or shape is None:
        return None
    return TensorSpec(name, dtype, tuple(shape))


def _file(entry: Reader, folder: Path) -> StageFile | None:
    precision = entry.choice("precision", PRECISIONS)
    target = entry.choice("for", TARGETS, "any")
    data = _external(entry, folder)
    parity = entry.free("parity")
    external = entry.parts(
        "external", lambda part: _external(part, folder), default=[], allow_empty=True
    )
    if precision is None or target is None or data is None or parity is None or external is None:
        return None
    return StageFile(precision, target, data.path, data.sha256, parity, external)


def _external(entry: Reader, folder: Path) -> ExternalFile | None:
    name = entry.text("file")
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


def _load(path: Path, faults: list[str]) -> Mapping[Any, Any] | None:
    try:
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            faults.append(
                f"{path.name}: found {size} bytes, expected at most {MAX_YAML_BYTES}: keep "
                "measurements in files of their own"
            )
            return None
        text = path.read_text(encoding="utf-8")
        duplicates = _duplicate_keys(yaml.compose(text, Loader=yaml.SafeLoader))
        document = yaml.safe_load(text)
    except OSError as error:
        faults.append(f"{path.name}: cannot be read ({error.strerror}), expected a yaml file")
        return None
    except UnicodeDecodeError as error:
        faults.append(f"{path.name}: found bytes that are not UTF-8 ({error}), expected yaml text")
        return None
    except YAML_ERRORS as error:
        reason = " ".join(str(error).split())
        faults.append(f"{path.name}: not valid yaml: {reason}")
        return None
    for key, line in duplicates:
        faults.append(f"{path.name}: key {key!r} stands twice in one mapping (line {line})")
    if not isinstance(document, Mapping):
        faults.append(f"{path.name}: found {_short(document)}, expected a mapping")
        return None
    return document


def _duplicate_keys(root: yaml.Node | None) -> list[tuple[str, int]]:
    """Keys that a mapping holds twice, with their line: plain loading would keep the last."""
    found: list[tuple[str, int]] = []
    seen: set[int] = set()  # aliases make the tree a graph, even a cyclic one
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        found.append((key.value, key.start_mark.line + 1))
                    keys.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
    return found


def _entry_name(entry: Any, index: int) -> str:
    """How a fault calls a list entry: by its name where it has one, else by its place."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) and _is_name(name) else str(index)


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        kind = "a mapping" if isinstance(value, Mapping) else "a list"
        if len(value) > 8 or any(isinstance(v, Mapping | list) for v in value):
            return f"{kind} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _are_finite(value: Any) -> bool:
    return isinstance(value, list) and all(_is_finite(v) for v in value)


def _is_color(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(_is_whole(v) and 0 <= v <= 255 for v in value)
    )


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(_is_whole(v) and v > 0 for v in value)
        and value[0] == 1
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is not None


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(_is_name(v) for v in value)
