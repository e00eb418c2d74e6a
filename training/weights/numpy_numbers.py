"""NumPy's numbers in a checkpoint, read without NumPy.

Training loops keep them beside the weights. NumPy's own readers are not made for damaged or hostile
files, on which they may crash; these stand-ins know numbers and nothing else.
"""

from __future__ import annotations

import struct
from typing import Any

FORMATS = {"b1": "?", "i4": "i", "i8": "q", "f4": "f", "f8": "d"}
ORDERS = {"<": "<", ">": ">", "|": "<"}  # the last where there is one byte


class Kind:
    """Stands for numpy.dtype."""

    def __init__(self, code: str, *_: Any) -> None:
        self.format = FORMATS[code]
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *_ = state
        self.order = ORDERS[order]


def number(kind: Kind, stored: bytes) -> bool | int | float:
    """Stands for what makes a NumPy number of its kind and its bytes."""
    [value] = struct.unpack(kind.order + kind.format, stored)
    return value


# For torch.serialization.safe_globals: under the paths that NumPy 1 and NumPy 2 write.
STAND_INS = (
    (Kind, "numpy.dtype"),
    (number, "numpy.core.multiarray.scalar"),
    (number, "numpy._core.multiarray.scalar"),
)
