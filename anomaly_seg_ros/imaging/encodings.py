"""sensor_msgs images to numpy and back: step-aware, without copies where the layout allows it.

One table holds every encoding of a colour camera (names: sensor_msgs/image_encodings.hpp). What is
not in it is handed to cv_bridge where that is installed, and is one clear error where it is not.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging.buffers import ByteData, as_bytes
from anomaly_seg_ros.imaging.compressed import decode_compressed, decode_compressed_map

Rows = np.ndarray  # uint8 [rows, bytes of one row without padding], any row stride


@dataclass(frozen=True)
class _Layout:
    """How the bytes of one colour encoding lie and become RGB."""

    bytes_per_pixel: int  # of one row; chroma rows of NV12 and NV21 are counted by `chroma`
    convert: Callable[[Rows, bool], np.ndarray]  # (rows, is_bigendian) -> uint8 [H, W, 3] RGB
    even_width: bool = False
    chroma: bool = False  # height / 2 rows of interleaved chroma follow the image rows
    smallest: int = 1  # fewest rows and columns that can be converted


def _pixels(rows: Rows, channels: int) -> np.ndarray:
    return rows.reshape(rows.shape[0], -1, channels)


def _color(channels: int, code: int) -> Callable[[Rows, bool], np.ndarray]:
    return lambda rows, _: cv2.cvtColor(_pixels(rows, channels), code)


def _rgb8(rows: Rows, _: bool) -> np.ndarray:
    return np.ascontiguousarray(_pixels(rows, 3))


def _plane(code: int) -> Callable[[Rows, bool], np.ndarray]:
    return lambda rows, _: cv2.cvtColor(rows, code)


def _plane16(code: int) -> Callable[[Rows, bool], np.ndarray]:
    """16-bit samples keep their high byte: `>> 8` without swapping or aligning anything."""
    return lambda rows, big: cv2.cvtColor(
        cv2.extractChannel(_pixels(rows, 2), 0 if big else 1), code
    )


def _color16(order: tuple[int, int, int]) -> Callable[[Rows, bool], np.ndarray]:
    """High bytes of 3 x 16 bit; `order` are the source channels of red, green and blue."""

    def convert(rows: Rows, big: bool) -> np.ndarray:
        source = _pixels(rows, 6)
        rgb = np.empty((*source.shape[:2], 3), np.uint8)
        pairs = [
            value for to, come in enumerate(order) for value in (2 * come + (0 if big else 1), to)
        ]
        cv2.mixChannels([source], [rgb], pairs)
        return rgb

    return convert


_BGR8 = _Layout(3, _color(3, cv2.COLOR_BGR2RGB))
_BGRA8 = _Layout(4, _color(4, cv2.COLOR_BGRA2RGB))
_MONO8 = _Layout(1, _plane(cv2.COLOR_GRAY2RGB))
_MONO16 = _Layout(2, _plane16(cv2.COLOR_GRAY2RGB))
_UYVY = _Layout(2, _color(2, cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = _Layout(2, _color(2, cv2.COLOR_YUV2RGB_YUYV), even_width=True)
_BAYER_CODES = {  # OpenCV names a pattern by its second row and column
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(3, _rgb8),
    "bgr8": _BGR8,
    "8UC3": _BGR8,
    "rgba8": _Layout(4, _color(4, cv2.COLOR_RGBA2RGB)),
    "bgra8": _BGRA8,
    "8UC4": _BGRA8,
    "mono8": _MONO8,
    "8UC1": _MONO8,
    "mono16": _MONO16,
    "16UC1": _MONO16,
    "rgb16": _Layout(6, _color16((0, 1, 2))),
    "bgr16": _Layout(6, _color16((2, 1, 0))),
    "uyvy": _UYVY,
    "yuv422": _UYVY,  # deprecated name
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,  # deprecated name
    "nv12": _Layout(1, _plane(cv2.COLOR_YUV2RGB_NV12), even_width=True, chroma=True),
    "nv21": _Layout(1, _plane(cv2.COLOR_YUV2RGB_NV21), even_width=True, chroma=True),
    # OpenCV leaves images below 3 x 3 black instead of demosaicing them.
    **{f"bayer_{p}8": _Layout(1, _plane(c), smallest=3) for p, c in _BAYER_CODES.items()},
    **{f"bayer_{p}16": _Layout(2, _plane16(c), smallest=3) for p, c in _BAYER_CODES.items()},
}

_MAP_DTYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32FC1": "f4"}
_OUTPUT_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, **dict.fromkeys(_MAP_DTYPES, 1)}

SUPPORTED_ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)
MAP_ENCODINGS: tuple[str, ...] = tuple(_MAP_DTYPES)


def to_rgb(
    data: ByteData,
    *,
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool = False,
) -> np.ndarray:
    """Convert the fields of a sensor_msgs/Image to uint8 [H, W, 3] RGB, C-contiguous.

    `step` is the bytes of one row with its padding and need not be a multiple of the pixel size.
    More data than step * height is accepted, less never (the last row too comes with its padding,
    as the message definition has it). 16-bit samples keep their high byte. rgb8 without padding
    comes back as a view of `data`, read-only where `data` is; everything else is a new array.
    Raises EncodingError, and nothing else, for sizes or data that do not fit and for encodings that
    neither SUPPORTED_ENCODINGS nor an installed cv_bridge know.
    """
    raw = as_bytes(data)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        return _through_cv_bridge(raw, encoding, height, width, step, is_bigendian)
    if min(height, width) < layout.smallest:
        raise EncodingError(
            f"{encoding} image of {width} x {height} pixels; expected at least "
            f"{layout.smallest} x {layout.smallest}"
        )
    if (layout.even_width and width % 2) or (layout.chroma and height % 2):
        what = "width and height" if layout.chroma else "width"
        raise EncodingError(
            f"{encoding} image of {width} x {height} pixels; expected an even {what}, since "
            "neighbouring pixels share their colour: set an even size in the camera driver"
        )
    rows = height + height // 2 if layout.chroma else height
    used = width * layout.bytes_per_pixel
    _check_rows(raw, encoding, height, width, step, rows, used)
    packed = raw[: step * rows].reshape(rows, step)[:, :used]
    try:
        return layout.convert(packed, bool(is_bigendian))
    except cv2.error as error:
        raise EncodingError(
            f"OpenCV cannot convert this {encoding} image of {width} x {height} pixels: {error}"
        ) from error


def message_to_rgb(message: Any) -> np.ndarray:
    """Convert a sensor_msgs Image or CompressedImage, of rclpy or rosbags, to uint8 [H, W, 3] RGB.

    See to_rgb and decode_compressed. Raises EncodingError.
    """
    if _is_compressed(message):
        return decode_compressed(message.data)
    return to_rgb(message.data, **_fields(message))


def message_to_map(message: Any) -> np.ndarray:
    """Convert a single-channel message (labels, mask, score) to [H, W], C-contiguous, native order.

    dtype: uint8 (mono8, 8UC1), uint16 (mono16, 16UC1) or float32 (32FC1); values are unchanged, so
    NaN stays NaN. A CompressedImage must hold a single-channel PNG. The result is a view of the
    message where rows are unpadded and the byte order is the machine's, else a copy.
    Raises EncodingError.
    """
    if _is_compressed(message):
        return decode_compressed_map(message.data)
    raw = as_bytes(message.data)
    fields = _fields(message)
    encoding, height, width, step = (fields[k] for k in ("encoding", "height", "width", "step"))
    if encoding not in _MAP_DTYPES:
        raise EncodingError(
            f"encoding '{encoding}' is no single-channel map; expected one of "
            + ", ".join(MAP_ENCODINGS)
        )
    dtype = np.dtype(_MAP_DTYPES[encoding]).newbyteorder(">" if fields["is_bigendian"] else "<")
    if min(height, width) < 1:
        raise EncodingError(f"{encoding} map of {width} x {height} pixels; expected at least 1 x 1")
    _check_rows(raw, encoding, height, width, step, height, width * dtype.itemsize)
    values = np.ndarray((height, width), dtype, buffer=raw, strides=(step, dtype.itemsize))
    native = values.astype(dtype.newbyteorder("="), copy=False)
    return np.require(native, requirements=["C_CONTIGUOUS", "ALIGNED"])


def fill_image(message: Any, image: np.ndarray, encoding: str) -> None:
    """Write `image` into a sensor_msgs/Image: every field but the header.

    image: [H, W, C] or [H, W]; uint8 for rgb8, bgr8, rgba8, bgra8, mono8 and 8UC1, uint16 for
    mono16 and 16UC1, float32 for 32FC1. Pixels are not converted: `encoding` says what they are.
    Raises EncodingError when the array is not what the encoding promises.
    """
    channels = _OUTPUT_CHANNELS.get(encoding)
    if channels is None:
        raise EncodingError(
            f"cannot write encoding '{encoding}'; expected one of " + ", ".join(_OUTPUT_CHANNELS)
        )
    dtype = np.dtype(_MAP_DTYPES.get(encoding, "u1"))
    shape_fits = (
        image.ndim == 2 if channels == 1 else image.ndim == 3 and image.shape[2] == channels
    )
    if not shape_fits or image.dtype != dtype or image.size == 0:
        wanted = "[H, W]" if channels == 1 else f"[H, W, {channels}]"
        raise EncodingError(
            f"cannot write {image.dtype} {list(image.shape)} as {encoding}; "
            f"expected {dtype} {wanted}"
        )
    # rclpy takes array.array('B') with one copy; bytes or ndarray cost it a check per element.
    payload = array("B")
    payload.frombytes(np.ascontiguousarray(image).data.cast("B"))
    message.height, message.width = int(image.shape[0]), int(image.shape[1])
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == "big" and dtype.itemsize > 1)
    message.step = int(image.shape[1]) * channels * dtype.itemsize
    message.data = payload


def _is_compressed(message: Any) -> bool:
    return hasattr(message, "format") and not hasattr(message, "encoding")


def _fields(message: Any) -> dict[str, Any]:
    return {
        "encoding": message.encoding,
        "height": int(message.height),
        "width": int(message.width),
        "step": int(message.step),
        "is_bigendian": bool(message.is_bigendian),
    }


def _check_rows(
    raw: np.ndarray, encoding: str, height: int, width: int, step: int, rows: int, used: int
) -> None:
    if step < used:
        raise EncodingError(
            f"{encoding} image of {width} x {height} pixels has step {step}; expected at least "
            f"{used} bytes per row: encoding, width and step of the driver disagree"
        )
    if raw.size < step * rows:
        raise EncodingError(
            f"{encoding} image of {width} x {height} pixels with step {step} holds {raw.size} "
            f"bytes; expected {step * rows} ({rows} rows): the message is cut off"
        )


@cache
def _cv_bridge() -> tuple[Any, str]:
    """The converter of cv_bridge, or None and why there is none."""
    try:
        from cv_bridge import CvBridge  # only with a ROS installation, and bound to its numpy

        return CvBridge(), ""
    except Exception as error:  # a cv_bridge built for another numpy fails in many ways
        return None, f"{type(error).__name__}: {error}"


def _through_cv_bridge(
    raw: np.ndarray, encoding: str, height: int, width: int, step: int, is_bigendian: bool
) -> np.ndarray:
    bridge, reason = _cv_bridge()
    known = ", ".join(SUPPORTED_ENCODINGS)
    if bridge is None:
        raise EncodingError(
            f"encoding '{encoding}' is not supported and cv_bridge cannot help ({reason}); "
            f"expected one of {known}: set one of these in the camera driver"
        )
    if min(height, width) < 1:
        raise EncodingError(
            f"{encoding} image of {width} x {height} pixels; expected at least 1 x 1"
        )
    _check_rows(raw, encoding, height, width, step, height, 1)
    message = SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=int(is_bigendian),
        data=raw,
    )
    try:
        dtype, channels = bridge.encoding_to_dtype_with_channels(encoding)
        if step % (np.dtype(dtype).itemsize * channels):
            # cv_bridge rounds such a step down and shears the picture.
            raise EncodingError(f"step {step} is no multiple of the pixel size")
        image = np.ascontiguousarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))
    except Exception as error:  # cv_bridge raises its own, cv2's and Python's errors alike
        raise EncodingError(
            f"cv_bridge cannot convert encoding '{encoding}' to rgb8 ({error}); "
            f"encodings converted without it: {known}"
        ) from error
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise EncodingError(
            f"cv_bridge made {image.dtype} {list(image.shape)} of encoding '{encoding}'; expected "
            f"uint8 {[height, width, 3]}"
        )
    return image
