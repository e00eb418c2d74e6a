"""Our images as sensor_msgs/CompressedImage, for networks and bags: `~/anomaly_mask/compressed`.

Maps (mono8) become PNG, bit for bit; JPEG would change class ids at their borders. Pictures for
people (rgb8) become JPEG. The score (32FC1) has no compressed form: image_transport's `compressed`
refuses float images, its `compressedDepth` stores 1 / value in 16 bits, which is made for depths
and loses scores around 0, and a 16-bit image under the same base name would hand its subscribers
other numbers than the raw topic does. Who needs scores over a network subscribes the raw topic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.nodes.parameters import NodeParameter
from anomaly_seg_ros.replay.writers import jpeg_bytes

SUFFIX = "/compressed"  # behind the topic of the image, as image_transport has it

COMPRESSED_PARAMETERS: tuple[NodeParameter, ...] = (
    NodeParameter(
        "jpeg_quality",
        80,
        "Quality of the JPEG images of ~/overlay/compressed and ~/synthesis/compressed.",
        bounds=(1, 100),
    ),
)


@dataclass(frozen=True)
class Compression:
    """How images of one encoding are compressed.

    format: what image_transport's `compressed` plug-in writes into the message, and reads there:
    the encoding of the image, the kind of file, and the order of its colours (the space at the
    end where it has none is theirs).
    """

    format: str
    encode: Callable[[np.ndarray, int], bytes]  # (image, JPEG quality)


def fast_png(image: np.ndarray) -> bytes:
    """Encode uint8 [H, W] without loss.

    OpenCV's own choice (zlib level 1, sub filter, run lengths). Asking for level 1 by name makes
    it try all filters on each row: five times as slow for masks (1920 x 1080: 16 and 68 ms on a
    busy machine) and larger.
    """
    done, data = cv2.imencode(".png", image)
    if not done:
        raise EncodingError(f"OpenCV cannot write a PNG of {image.dtype} {list(image.shape)}")
    return data.tobytes()


COMPRESSIONS: dict[str, Compression] = {  # by encoding; what is not here has no compressed topic
    "mono8": Compression("mono8; png compressed ", lambda image, _: fast_png(image)),
    "rgb8": Compression("rgb8; jpeg compressed bgr8", jpeg_bytes),
}


def fill_compressed(message: Any, image: np.ndarray, encoding: str, quality: int) -> None:
    """Write `image` into a sensor_msgs/CompressedImage: every field but the header.

    image: uint8 [H, W] for mono8, [H, W, 3] for rgb8; quality 1 to 100, of JPEG. Raises
    EncodingError for another encoding or shape.
    """
    compression = COMPRESSIONS.get(encoding)
    if compression is None:
        raise EncodingError(
            f"images of encoding {encoding} have no compressed form; expected one of "
            + ", ".join(COMPRESSIONS)
        )
    expected = 2 if encoding == "mono8" else 3
    if image.dtype != np.uint8 or image.ndim != expected or min(image.shape[:2]) < 1:
        raise EncodingError(
            f"{encoding} image is {image.dtype} {list(image.shape)}; expected uint8 "
            + ("[H, W]" if expected == 2 else "[H, W, 3]")
        )
    message.format = compression.format
    data = compression.encode(image, quality)
    del message.data[:]  # an array.array, checked by its type code alone
    message.data.frombytes(data)
