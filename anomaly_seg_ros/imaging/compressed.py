"""Compressed image bytes (sensor_msgs/CompressedImage, files) to pixels, by content, never by name.

Only JPEG, PNG, WebP and BMP are read: cameras and image_transport send little else, and their size
stands in the first bytes, so that no size a sender invents is ever allocated.
"""

from __future__ import annotations

import cv2
import numpy as np

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging.buffers import ByteData, as_bytes

MAX_PIXELS = 1 << 26  # 8192 x 8192, above any road camera; decoded that is 200 MB

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# ITU-T T.81, table B.1
_JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI: no length follows
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn, not DHT, JPG, DAC
_JPEG_END = b"\xff\xd9"


def decode_compressed(data: ByteData) -> np.ndarray:
    """Decode JPEG, PNG, WebP or BMP bytes to uint8 [H, W, 3] RGB, C-contiguous.

    Gray becomes three equal channels, 16 bit keeps its high byte, alpha is dropped. The orientation
    tag of a photograph is ignored: pixels stay where the sensor and its calibration have them.
    Raises EncodingError for other or damaged content and for more than MAX_PIXELS pixels.
    """
    image = _decode(as_bytes(data), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def decode_compressed_map(data: ByteData) -> np.ndarray:
    """Decode a single-channel PNG (labels, mask) to uint8 or uint16 [H, W], values unchanged.

    Raises EncodingError for anything else; JPEG too, since it changes labels at their borders.
    """
    raw = as_bytes(data)
    if raw[:8].tobytes() != _PNG_SIGNATURE:
        raise EncodingError(
            f"a compressed map starts with {_first_bytes(raw)}; expected a PNG (lossy formats "
            "change labels): publish the map as PNG or uncompressed"
        )
    image = _decode(raw, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2:
        raise EncodingError(
            f"a compressed map has {image.shape[2]} channels; expected a single-channel PNG"
        )
    return image


def compressed_size(data: ByteData) -> tuple[int, int]:
    """Height and width that the header of a JPEG, PNG, WebP or BMP states; nothing is decoded.

    Raises EncodingError when the content is none of these or the header is cut off.
    """
    raw = as_bytes(data)
    head = raw[:32].tobytes()
    size: tuple[int, int] | None = None
    if head.startswith(_PNG_SIGNATURE):
        size = _png_size(head)
    elif head.startswith(b"\xff\xd8\xff"):
        size = _jpeg_size(raw)
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        size = _webp_size(head)
    elif head.startswith(b"BM"):
        size = _bmp_size(head)
    else:
        raise EncodingError(
            f"{raw.size} compressed bytes start with {_first_bytes(raw)}; expected a JPEG, PNG, "
            "WebP or BMP image (depth images of compressedDepth are no colour images)"
        )
    if size is None:
        raise EncodingError(
            f"{raw.size} compressed bytes end within the image header: cut off or damaged data"
        )
    return size


def _decode(raw: np.ndarray, flags: int) -> np.ndarray:
    height, width = compressed_size(raw)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise EncodingError(
            f"the compressed image says it is {width} x {height} pixels; expected at least 1 x 1 "
            f"and at most {MAX_PIXELS} pixels in all"
        )
    # Some OpenCV versions fill the missing rows of a cut-off JPEG with gray and report no fault.
    if raw[0] == 0xFF and raw.tobytes().rfind(_JPEG_END) < 0:
        raise EncodingError(
            f"the JPEG of {raw.size} bytes has no end marker: it is cut off; send the whole frame"
        )
    try:
        image = cv2.imdecode(raw, flags)
    except cv2.error as error:
        raise EncodingError(
            f"the {width} x {height} compressed image is damaged: {error}"
        ) from error
    if image is None:
        raise EncodingError(
            f"the {width} x {height} compressed image of {raw.size} bytes cannot be decoded: "
            "it is cut off or damaged"
        )
    return image


def _png_size(head: bytes) -> tuple[int, int] | None:
    """IHDR must come first (PNG specification, 5.6)."""
    if len(head) < 24 or head[12:16] != b"IHDR":
        return None
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def _jpeg_size(raw: np.ndarray) -> tuple[int, int] | None:
    """Walk the marker segments to the frame header (ITU-T T.81, B.2.2)."""
    at, end = 2, raw.size
    while at + 9 <= end and raw[at] == 0xFF:
        marker = int(raw[at + 1])
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_BARE_MARKERS:
            at += 2
        elif marker in _JPEG_FRAME_MARKERS:
            high_h, low_h, high_w, low_w = (int(value) for value in raw[at + 5 : at + 9])
            return (high_h << 8) | low_h, (high_w << 8) | low_w
        else:
            at += 2 + max(2, (int(raw[at + 2]) << 8) | int(raw[at + 3]))
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Lossy, lossless and extended layout (RFC 9649, 2.5 to 2.7)."""
    if len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8 ":
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        return int.from_bytes(head[28:30], "little") & 0x3FFF, width
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return ((bits >> 14) & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        return int.from_bytes(head[27:30], "little") + 1, width
    return None


def _bmp_size(head: bytes) -> tuple[int, int] | None:
    """BITMAPCOREHEADER has 16-bit sizes, all later ones 32-bit with a sign for top-down rows."""
    if len(head) < 26:
        return None
    if int.from_bytes(head[14:18], "little") == 12:
        return int.from_bytes(head[20:22], "little"), int.from_bytes(head[18:20], "little")
    height = abs(int.from_bytes(head[22:26], "little", signed=True))
    return height, abs(int.from_bytes(head[18:22], "little", signed=True))


def _first_bytes(raw: np.ndarray) -> str:
    return raw[:12].tobytes().hex(" ") or "nothing"
