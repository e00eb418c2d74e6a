"""Take typed values out of a yaml file, collecting every fault instead of stopping at the first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

MAX_YAML_BYTES = 1 << 20  # a bundle of hundreds of classes needs some tens of kilobytes
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


def load_yaml(path: Path, faults: list[str]) -> Mapping[Any, Any] | None:
    """The mapping in a yaml file; None after a fault was noted. Only plain data is constructed."""
    try:
        if not path.is_file():
            faults.append(f"{path.name} is missing, expected a yaml file in {path.parent}")
            return None
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            faults.append(
                f"{path.name}: found {size} bytes, expected at most {MAX_YAML_BYTES}: keep "
                "measurements in files of their own"
            )
            return None
        text = path.read_text(encoding="utf-8")
        slips = _slips(yaml.compose(text, Loader=yaml.SafeLoader))
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
    faults.extend(f"{path.name}: {slip}" for slip in slips)
    if not isinstance(document, Mapping):
        faults.append(f"{path.name}: found {_short(document)}, expected a mapping")
        return None
    return document


def _slips(root: yaml.Node | None) -> list[str]:
    """What plain yaml loading would pass over: keys that stand twice, and aliases.

    Of a double key the last would win. Aliases let a small file unfold into an endless one.
    """
    slips: list[str] = []
    seen: set[int] = set()
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            line = node.start_mark.line + 1
            slips.append(f"the value in line {line} is used again by an alias: write it out there")
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        line = key.start_mark.line + 1
                        slips.append(f"key {key.value!r} stands twice in one mapping (line {line})")
                    keys.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
    return slips


class Reader:
    """Takes typed values out of one yaml mapping; what does not fit becomes a fault.

    `where` is the place of the mapping in the file, empty at the top.
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
        return f"{self.where}.{key}" if self.where else key

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
            lambda v: is_whole(v) and v >= minimum and (maximum is None or v <= maximum),
            default,
        )

    def number(self, key: str) -> float | None:
        value = self.checked(key, "a finite number", is_finite)
        return None if value is None else float(value)

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


def _entry_name(entry: Any, index: int) -> str:
    """How a fault calls a list entry: by its name where it has one, else by its place."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) and is_name(name) else str(index)


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        kind = "a mapping" if isinstance(value, Mapping) else "a list"
        if len(value) > 8 or any(isinstance(v, Mapping | list) for v in value):
            return f"{kind} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is not None
