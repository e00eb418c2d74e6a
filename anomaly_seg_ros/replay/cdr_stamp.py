"""The header stamp in the CDR bytes of a camera message, without deserialising the picture.

sensor_msgs Image and CompressedImage begin with their header and it with its stamp: int32 seconds
and uint32 nanoseconds after the four bytes that name the encapsulation (OMG DDS-XTYPES 1.3, 7.6.3).
"""

from __future__ import annotations

import struct

from anomaly_seg_ros.errors import EncodingError

BEGIN, END = 4, 12


def read_stamp(cdr: bytes) -> tuple[int, int]:
    """(seconds, nanoseconds). Raises EncodingError for fewer bytes than that takes."""
    _check(cdr)
    seconds, nanoseconds = struct.unpack(_order(cdr) + "iI", cdr[BEGIN:END])
    return seconds, nanoseconds


def with_stamp(cdr: bytes, stamp: tuple[int, int]) -> bytes:
    """The same message with another stamp (seconds, nanoseconds). Raises EncodingError."""
    _check(cdr)
    return cdr[:BEGIN] + struct.pack(_order(cdr) + "iI", *stamp) + cdr[END:]


def _order(cdr: bytes) -> str:
    return "<" if cdr[1] & 1 else ">"


def _check(cdr: bytes) -> None:
    if len(cdr) < END:
        raise EncodingError(f"a message of {len(cdr)} bytes; expected {END} with its stamp")
