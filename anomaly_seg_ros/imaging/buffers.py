"""Raw bytes of a message or file as a flat array, without a copy."""

from __future__ import annotations

from array import array
from typing import TypeAlias

import numpy as np

from anomaly_seg_ros.errors import EncodingError

ByteData: TypeAlias = "bytes | bytearray | memoryview | array[int] | np.ndarray"


def as_bytes(data: ByteData) -> np.ndarray:
    """View `data` as uint8 [N] without a copy; read-only where `data` is.

    Accepts what rclpy (array.array('B')), rosbags (read-only ndarray) and files (bytes) hand over.
    Raises EncodingError when `data` is no contiguous buffer of bytes.
    """
    try:
        view = memoryview(data)  # type: ignore[arg-type]
        if view.nbytes == 0:
            return np.empty(0, np.uint8)
        return np.frombuffer(view.cast("B"), np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise EncodingError(
            f"image data is a {type(data).__name__} that cannot be read as bytes ({error}); "
            "expected bytes, bytearray, memoryview, array.array('B') or a contiguous uint8 array"
        ) from error
