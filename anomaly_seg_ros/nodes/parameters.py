"""The parameters of our nodes as data: declaration, checks and documentation come from one table.

Importable without ROS; `declare` imports what it needs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anomaly_seg_ros.errors import NodeError

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

UNNAMED = ""  # the camera of a node that has only one


@dataclass(frozen=True)
class NodeParameter:
    """One parameter. Its type is the type of `default`.

    `bounds` are inclusive and apply to numbers; `choices` apply to strings. `read_only` parameters
    take their value when the node starts, `of_engine` ones when it configures or reloads.
    """

    name: str
    default: bool | int | float | str | tuple[str, ...]
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    of_engine: bool = False

    @property
    def set_at(self) -> str:
        """When a new value takes effect, as the documentation has it."""
        if self.of_engine:
            return "reload"
        return "start" if self.read_only else "any time"

    @property
    def type_name(self) -> str:
        """bool, int, double, string or string_array, as ROS spells them."""
        names = {
            bool: "bool",
            int: "int",
            float: "double",
            str: "string",
            tuple: "string_array",
        }
        return names[type(self.default)]

    def fault(self, value: Any) -> str | None:
        """Why `value` cannot be taken, or None. Bounds are the descriptor's work, not ours."""
        if self.choices and value not in self.choices:
            known = ", ".join(repr(choice) for choice in self.choices)
            return f"{self.name} is {value!r}, expected one of: {known}"
        return None


def declare(node: Node, table: Iterable[NodeParameter]) -> None:
    """Declare the table on a node; values given from outside are checked.

    Raises rclpy's ParameterException for a wrong type or a number out of bounds and NodeError for
    anything that is none of the choices, or nothing.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import ParameterUninitializedException

    for item in table:
        descriptor = ParameterDescriptor(description=item.description, read_only=item.read_only)
        if item.choices:
            descriptor.additional_constraints = "one of: " + ", ".join(map(repr, item.choices))
        if item.bounds and isinstance(item.default, float):
            low, high = item.bounds
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif item.bounds:
            low, high = (int(bound) for bound in item.bounds)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        try:
            node.declare_parameter(item.name, default, descriptor)
            fault = item.fault(node.get_parameter(item.name).value)
        except ParameterUninitializedException as error:  # also what ROS makes of `[]`
            raise NodeError(
                f"parameter {item.name} is given without a value; expected a {item.type_name} "
                f"such as the default {_shown(item.default)}"
            ) from error
        if fault:
            raise NodeError(f"parameter {fault}")


def values(
    node: Node, table: Iterable[NodeParameter], changes: Iterable[Parameter] = ()
) -> dict[str, Any]:
    """The values of the declared table by name, with `changes` that are not set yet."""
    given = {item.name: node.get_parameter(item.name).value for item in table}
    return given | {change.name: change.value for change in changes if change.name in given}


def fault_in(table: Iterable[NodeParameter], changes: Iterable[Parameter]) -> str | None:
    """Why these changes cannot be taken, or None."""
    by_name = {item.name: item for item in table}
    for change in changes:
        item = by_name.get(change.name)
        fault = item.fault(change.value) if item else None
        if fault:
            return fault
    return None


def parameter_help(table: Iterable[NodeParameter]) -> str:
    """The table as text for --help."""
    lines = []
    for item in table:
        notes = [f"default {_shown(item.default)}"]
        if item.choices:
            notes.append("one of " + ", ".join(map(repr, item.choices)))
        if item.bounds:
            notes.append(f"{item.bounds[0]:g} to {item.bounds[1]:g}")
        if item.set_at != "any time":
            notes.append(f"set at {item.set_at}")
        lines.append(f"  {item.name} ({item.type_name}; {'; '.join(notes)})")
        lines.extend(
            textwrap.wrap(item.description, 92, initial_indent=" " * 6, subsequent_indent=" " * 6)
        )
    return "\n".join(lines)


def _shown(default: bool | int | float | str | tuple[str, ...]) -> str:
    """A default as it is given on the command line."""
    if isinstance(default, tuple):
        return str(list(default))
    return repr(default) if isinstance(default, str) else str(default)
