"""Definitions of message types that rosbags does not bring, from the installed ROS packages.

A bag holds the definition of each of its types; rosbags knows those of ROS itself, not vision_msgs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import ReplayError


def learn(types: Any, message_type: str) -> None:
    """Add a type such as `vision_msgs/msg/Detection2DArray` and its parts to a rosbags typestore.

    Raises ReplayError where the package or the definition is not installed or cannot be read.
    """
    from rosbags.typesys import get_types_from_msg

    missing = [message_type]
    while missing:
        name = missing.pop()
        if name in types.fielddefs:
            continue
        file = _definition(name)
        try:
            found = get_types_from_msg(file.read_text(), name)
            types.register(found)
        except Exception as error:  # generated parsers raise whatever the text leads them to
            raise ReplayError(
                f"the definition of {name} cannot be read ({type(error).__name__}: {error}): {file}"
            ) from error
        for _, fields in found.values():
            missing += [part for _, field in fields for part in _named(field)]


def _definition(name: str) -> Path:
    from ament_index_python.packages import get_package_share_directory

    package, _, kind = name.partition("/msg/")
    try:
        file = Path(get_package_share_directory(package)) / "msg" / f"{kind}.msg"
    except (LookupError, ValueError) as error:
        raise ReplayError(
            f"the definition of {name} is not installed ({error}): install the package"
        ) from error
    if not file.is_file():
        raise ReplayError(f"the definition of {name} is not installed: expected it at {file}")
    return file


def _named(field: Any) -> Iterator[str]:
    """The message types in a field's description: a name, or an array or sequence of names."""
    from rosbags.interfaces import Nodetype

    kind, content = field
    if kind == Nodetype.NAME:
        yield content
    elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _named(content[0])
