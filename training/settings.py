"""Settings dataclasses from YAML, strictly: no unknown key, no missing one, no other type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from anomaly_seg_ros.errors import AnomalySegError

PLAIN = (bool, int, float, str)


class ConfigError(AnomalySegError):
    """A training configuration with unknown keys or values."""


def settings_from(kind: type, values: Any, where: str) -> Any:
    """An instance of the dataclass `kind`; fields that are dataclasses are read the same way and
    lists become tuples. where: the file, for messages. Raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{where}: found {values!r} for {kind.__name__}, expected keys and values"
        )
    known = {field.name: field for field in fields(kind)}
    if unknown := set(values) - set(known):
        raise ConfigError(
            f"{where}: unknown keys {sorted(map(str, unknown))} for {kind.__name__}; expected some "
            f"of {', '.join(known)}"
        )
    required = {
        name
        for name, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    }
    if missing := required - set(values):
        raise ConfigError(f"{where}: missing keys {sorted(missing)} of {kind.__name__}")
    hints = get_type_hints(kind)
    made = {name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return kind(**made)
    except AnomalySegError as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return settings_from(hint, value, where)
    if hint in PLAIN:
        fits = type(value) is hint or (hint is float and type(value) is int)
        if not fits:
            raise ConfigError(
                f"{where} is {value!r}, expected {hint.__name__}"
                + (" (YAML reads 1e-3 as text: write 1.0e-3)" if hint is float else "")
            )
        return hint(value)
    return tuple(value) if isinstance(value, list) else value
