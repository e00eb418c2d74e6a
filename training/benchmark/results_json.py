"""Benchmark results as JSON and back, without loss."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from training.benchmark.results import BenchmarkError, BenchmarkResults

FORMAT = 1


def results_json(results: BenchmarkResults) -> str:
    """The text of results.json. Raises BenchmarkError for a number that is not finite.

    `settings` comes back as JSON knows it: a tuple in there returns as a list.
    """
    content = asdict(results)
    bad = next(_not_finite(content, "results"), None)
    if bad is not None:
        raise BenchmarkError(
            f"{bad}: not a finite number; an undefined figure is None with a reason"
        )
    try:
        return json.dumps({"format": FORMAT, **content}, indent=1, allow_nan=False) + "\n"
    except TypeError as error:
        raise BenchmarkError(f"the results cannot be written as JSON: {error}") from error


def read_results(path: Path) -> BenchmarkResults:
    """Read results.json, or the one in the folder `path`. Raises BenchmarkError."""
    path = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("format")
        if found != FORMAT:
            raise BenchmarkError(
                f"{path}: format {found!r}, expected {FORMAT}: run the benchmark again"
            )
        return _decode(BenchmarkResults, content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{path}: not the results of a benchmark ({error!r})") from error


def _decode(kind: Any, value: Any) -> Any:
    """Make `value`, as JSON gives it, what the type `kind` says."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        unknown = set(value) - {entry.name for entry in fields(kind)}
        if unknown:
            raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
        return kind(**{name: _decode(hints[name], entry) for name, entry in value.items()})
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _decode(next(part for part in inner if part is not type(None)), value)
    if origin is list:
        return [_decode(inner[0], entry) for entry in value]
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_decode(part, entry) for part, entry in zip(kinds, value, strict=True))
    if origin is dict:
        return {key: _decode(inner[1], entry) for key, entry in value.items()}
    return float(value) if kind is float else value


def _not_finite(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _not_finite(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _not_finite(entry, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}"
