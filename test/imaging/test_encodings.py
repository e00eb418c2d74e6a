"""Every encoding against references written by hand: rows, bytes and formulas, no library."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import product
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging import encodings
from anomaly_seg_ros.imaging.encodings import (
    MAP_ENCODINGS,
    SUPPORTED_ENCODINGS,
    fill_image,
    message_to_map,
    message_to_rgb,
    to_rgb,
)

# Per encoding the source channel of each stored byte or sample: r, g, b, a or y (gray).
PACKED_8 = {"rgb8": "rgb", "bgr8": "bgr", "8UC3": "bgr", "rgba8": "rgba", "bgra8": "bgra"}
PACKED_8 |= {"8UC4": "bgra", "mono8": "y", "8UC1": "y"}
PACKED_16 = {"rgb16": "rgb", "bgr16": "bgr", "mono16": "y", "16UC1": "y"}
UYVY, YUYV = ("uyvy", "yuv422"), ("yuyv", "yuv422_yuy2")
BAYER_8 = tuple(f"bayer_{p}8" for p in ("rggb", "bggr", "gbrg", "grbg"))
BAYER_16 = tuple(f"bayer_{p}16" for p in ("rggb", "bggr", "gbrg", "grbg"))
BYTES_PER_PIXEL = {name: len(order) for name, order in PACKED_8.items()}
BYTES_PER_PIXEL |= {name: 2 * len(order) for name, order in PACKED_16.items()}
BYTES_PER_PIXEL |= {**dict.fromkeys(UYVY + YUYV, 2), "nv12": 1, "nv21": 1}
BYTES_PER_PIXEL |= {**dict.fromkeys(BAYER_8, 1), **dict.fromkeys(BAYER_16, 2)}

ByteOrder: TypeAlias = Literal["big", "little"]

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 17)
paddings = st.integers(0, 13)
quick = settings(max_examples=30, deadline=None)


def pad_rows(rows: list[bytes], padding: int) -> tuple[bytes, int]:
    """Rows with junk behind each, as drivers with aligned buffers send them, and their step."""
    return b"".join(row + b"\xa5" * padding for row in rows), len(rows[0]) + padding


def yuv_to_rgb(y: int, u: int, v: int) -> list[float]:
    """ITU-R BT.601, limited range; what is below black is black, as OpenCV has it."""
    luma, blue, red = 1.164 * max(0, y - 16), u - 128, v - 128
    rgb = (luma + 1.596 * red, luma - 0.813 * red - 0.391 * blue, luma + 2.018 * blue)
    return [min(255.0, max(0.0, value)) for value in rgb]


def test_the_table_of_encodings_is_complete() -> None:
    assert set(SUPPORTED_ENCODINGS) == set(BYTES_PER_PIXEL)


@pytest.mark.parametrize("encoding", PACKED_8)
@quick
@given(height=sizes, width=sizes, padding=paddings, seed=seeds)
def test_8_bit_pixels_arrive_in_rgb_order(
    encoding: str, height: int, width: int, padding: int, seed: int
) -> None:
    order = PACKED_8[encoding]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 5), np.uint8)
    rows = [
        bytes(int(pixels[y, x, "rgbay".index(c)]) for x in range(width) for c in order)
        for y in range(height)
    ]
    data, step = pad_rows(rows, padding)
    rgb = to_rgb(data, encoding=encoding, height=height, width=width, step=step)
    expected = pixels[..., [4, 4, 4]] if order == "y" else pixels[..., :3]
    np.testing.assert_array_equal(rgb, expected)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize("encoding", PACKED_16)
@quick
@given(height=sizes, width=sizes, padding=paddings, big=st.booleans(), seed=seeds)
def test_16_bit_samples_keep_their_high_byte_in_both_byte_orders(
    encoding: str, height: int, width: int, padding: int, big: bool, seed: int
) -> None:
    order = PACKED_16[encoding]
    pixels = np.random.default_rng(seed).integers(0, 65536, (height, width, 4), np.uint16)
    byte_order: ByteOrder = "big" if big else "little"
    rows = [
        b"".join(
            int(pixels[y, x, "rgby".index(c)]).to_bytes(2, byte_order)
            for x in range(width)
            for c in order
        )
        for y in range(height)
    ]
    data, step = pad_rows(rows, padding)
    rgb = to_rgb(data, encoding=encoding, height=height, width=width, step=step, is_bigendian=big)
    expected = pixels[..., [3, 3, 3]] if order == "y" else pixels[..., :3]
    np.testing.assert_array_equal(rgb, expected // 256)


@pytest.mark.parametrize("encoding", UYVY + YUYV)
@quick
@given(height=sizes, pairs=st.integers(1, 9), padding=paddings, seed=seeds)
def test_yuv_422_pairs_share_their_colour(
    encoding: str, height: int, pairs: int, padding: int, seed: int
) -> None:
    # y0, y1, u, v of each pair of pixels
    values = np.random.default_rng(seed).integers(0, 256, (height, pairs, 4)).tolist()
    rows = [
        b"".join(
            bytes((u, y0, v, y1) if encoding in UYVY else (y0, u, y1, v)) for y0, y1, u, v in row
        )
        for row in values
    ]
    data, step = pad_rows(rows, padding)
    rgb = to_rgb(data, encoding=encoding, height=height, width=2 * pairs, step=step)
    expected = [[yuv_to_rgb(y, u, v) for y0, y1, u, v in row for y in (y0, y1)] for row in values]
    np.testing.assert_allclose(rgb, expected, atol=2)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@quick
@given(half_height=st.integers(1, 9), half_width=st.integers(1, 9), padding=paddings, seed=seeds)
def test_yuv_420_blocks_share_their_colour(
    encoding: str, half_height: int, half_width: int, padding: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    height, width = 2 * half_height, 2 * half_width
    luma = random.integers(0, 256, (height, width)).tolist()
    chroma = random.integers(0, 256, (half_height, half_width, 2)).tolist()  # u, v
    rows = [bytes(row) for row in luma]
    rows += [
        bytes(c for u, v in row for c in ((u, v) if encoding == "nv12" else (v, u)))
        for row in chroma
    ]
    data, step = pad_rows(rows, padding)
    rgb = to_rgb(data, encoding=encoding, height=height, width=width, step=step)
    expected = [
        [yuv_to_rgb(luma[y][x], *chroma[y // 2][x // 2]) for x in range(width)]
        for y in range(height)
    ]
    np.testing.assert_allclose(rgb, expected, atol=2)


def bayer_channels(encoding: str, height: int, width: int) -> np.ndarray:
    """Which of r, g, b each sensor pixel measures: the name spells the top left 2 x 2 block."""
    pattern = ["rgb".index(c) for c in encoding[6:10]]
    return np.array([[pattern[y % 2 * 2 + x % 2] for x in range(width)] for y in range(height)])


def bayer_bytes(mosaic: np.ndarray, encoding: str, padding: int, big: bool) -> tuple[bytes, int]:
    if encoding.endswith("16"):  # any low byte: it must not matter
        order: ByteOrder = "big" if big else "little"
        rows = [b"".join((int(v) * 256 + 77).to_bytes(2, order) for v in row) for row in mosaic]
    else:
        rows = [bytes(row.tolist()) for row in mosaic]
    return pad_rows(rows, padding)


@pytest.mark.parametrize("encoding", BAYER_8 + BAYER_16)
@quick
@given(
    height=st.integers(3, 17),
    width=st.integers(3, 17),
    padding=paddings,
    big=st.booleans(),
    color=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_a_flat_colour_survives_the_bayer_mosaic(
    encoding: str,
    height: int,
    width: int,
    padding: int,
    big: bool,
    color: tuple[int, int, int],
) -> None:
    mosaic = np.array(color)[bayer_channels(encoding, height, width)]
    data, step = bayer_bytes(mosaic, encoding, padding, big)
    rgb = to_rgb(data, encoding=encoding, height=height, width=width, step=step, is_bigendian=big)
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.array(color, np.uint8), rgb.shape))


@pytest.mark.parametrize("encoding", BAYER_8 + BAYER_16)
@quick
@given(height=st.integers(3, 17), width=st.integers(3, 17), padding=paddings, seed=seeds)
def test_what_a_bayer_pixel_measured_is_kept(
    encoding: str, height: int, width: int, padding: int, seed: int
) -> None:
    mosaic = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    data, step = bayer_bytes(mosaic, encoding, padding, big=False)
    rgb = to_rgb(data, encoding=encoding, height=height, width=width, step=step)
    channel = bayer_channels(encoding, height, width)
    measured = np.take_along_axis(rgb, channel[..., None], axis=2)[..., 0]
    inner = np.s_[1:-1, 1:-1]  # the outermost pixels are copies of their neighbours
    np.testing.assert_array_equal(measured[inner], mosaic[inner])


# --- checks ----------------------------------------------------------------------------------


def enough_bytes(encoding: str, height: int, step: int) -> int:
    return step * height * 3 // 2 if encoding.startswith("nv") else step * height


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
@quick
@given(data=st.data(), padding=paddings, extra=st.integers(1, 40))
def test_extra_bytes_are_ignored_and_missing_bytes_refused(
    encoding: str, data: st.DataObject, padding: int, extra: int
) -> None:
    height, width = 2 * data.draw(st.integers(2, 6)), 2 * data.draw(st.integers(2, 6))
    step = width * BYTES_PER_PIXEL[encoding] + padding
    whole = np.random.default_rng(extra).bytes(enough_bytes(encoding, height, step))
    fields: dict[str, Any] = {"encoding": encoding, "height": height, "width": width, "step": step}
    np.testing.assert_array_equal(to_rgb(whole + b"x" * extra, **fields), to_rgb(whole, **fields))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(EncodingError, match=f"holds {cut} bytes; expected {len(whole)} "):
        to_rgb(whole[:cut], **fields)


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_a_step_below_the_row_length_is_refused(encoding: str) -> None:
    step = 8 * BYTES_PER_PIXEL[encoding] - 1
    with pytest.raises(EncodingError, match=f"step {step}; expected at least {step + 1} bytes"):
        to_rgb(bytes(4096), encoding=encoding, height=8, width=8, step=step)


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
@pytest.mark.parametrize(("height", "width"), [(0, 8), (8, 0), (0, 0)])
def test_empty_images_are_refused(encoding: str, height: int, width: int) -> None:
    with pytest.raises(EncodingError, match=f"{width} x {height} pixels; expected at least"):
        to_rgb(bytes(4096), encoding=encoding, height=height, width=width, step=64)


@pytest.mark.parametrize("encoding", [*UYVY, *YUYV, "nv12", "nv21"])
def test_odd_sizes_of_shared_colour_are_refused(encoding: str) -> None:
    with pytest.raises(EncodingError, match=r"7 x 4 pixels; expected an even width"):
        to_rgb(bytes(4096), encoding=encoding, height=4, width=7, step=32)
    if encoding.startswith("nv"):
        with pytest.raises(EncodingError, match=r"8 x 5 pixels; expected an even width and height"):
            to_rgb(bytes(4096), encoding=encoding, height=5, width=8, step=32)


@pytest.mark.parametrize("encoding", BAYER_8 + BAYER_16)
def test_a_mosaic_too_small_to_interpolate_is_refused(encoding: str) -> None:
    with pytest.raises(EncodingError, match="expected at least 3 x 3"):
        to_rgb(bytes(4096), encoding=encoding, height=2, width=8, step=32)


@settings(max_examples=250, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(SUPPORTED_ENCODINGS), st.text(max_size=12)),
    height=st.one_of(st.integers(-2, 12), st.just(2**32 - 1)),
    width=st.one_of(st.integers(-2, 12), st.just(2**32 - 1)),
    step=st.one_of(st.integers(-2, 80), st.just(2**32 - 1)),
    big=st.booleans(),
    data=st.one_of(st.binary(max_size=64), st.integers(0, 1200).map(bytes)),
)
def test_any_message_gives_an_image_or_an_encoding_error(
    encoding: str, height: int, width: int, step: int, big: bool, data: bytes
) -> None:
    try:
        rgb = to_rgb(
            data, encoding=encoding, height=height, width=width, step=step, is_bigendian=big
        )
    except EncodingError:
        return
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


# --- buffers ---------------------------------------------------------------------------------


def read_only(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)  # what rosbags hands over


BUFFERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "array": lambda data: array("B", data),
    "ndarray": lambda data: np.frombuffer(bytearray(data), np.uint8),
    "read_only_ndarray": read_only,
}


@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_buffer_type_reads_alike(encoding: str, buffer: str) -> None:
    step = 8 * BYTES_PER_PIXEL[encoding] + 5
    data = np.random.default_rng(4).bytes(enough_bytes(encoding, 6, step))
    fields: dict[str, Any] = {"encoding": encoding, "height": 6, "width": 8, "step": step}
    np.testing.assert_array_equal(to_rgb(BUFFERS[buffer](data), **fields), to_rgb(data, **fields))


def test_unpadded_rgb_is_a_view_of_the_message() -> None:
    data = array("B", range(24))
    rgb = to_rgb(data, encoding="rgb8", height=2, width=4, step=12)
    data[0] = 200
    assert rgb[0, 0, 0] == 200


@pytest.mark.parametrize("data", [[1, 2, 3], "text", None, np.zeros((9, 9), np.uint8)[:, ::2]])
def test_data_that_is_no_buffer_is_refused(data: object) -> None:
    with pytest.raises(EncodingError, match="expected bytes, bytearray"):
        to_rgb(data, encoding="mono8", height=1, width=1, step=1)  # type: ignore[arg-type]


# --- outside the table -----------------------------------------------------------------------


@pytest.fixture
def bridge_cache() -> Iterator[None]:
    encodings._cv_bridge.cache_clear()
    yield
    encodings._cv_bridge.cache_clear()


@pytest.mark.parametrize("encoding", ["nv24", "", "BGR8", "32FC1", "jpeg"])
def test_an_unknown_encoding_names_itself_and_the_known_ones(
    encoding: str, monkeypatch: pytest.MonkeyPatch, bridge_cache: None
) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # importing it fails
    with pytest.raises(EncodingError) as caught:
        to_rgb(bytes(999), encoding=encoding, height=4, width=4, step=12)
    message = str(caught.value)
    assert f"encoding '{encoding}' is not supported" in message
    assert all(known in message for known in SUPPORTED_ENCODINGS)


class PlanarBridge:
    """Does for the planar encoding 'planar_rgb' what cv_bridge does for nv24: a real conversion."""

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        return ("uint16" if encoding == "wide" else "uint8"), 1

    def imgmsg_to_cv2(self, message: SimpleNamespace, desired_encoding: str) -> np.ndarray:
        if message.encoding != "planar_rgb" or desired_encoding != "rgb8":
            raise RuntimeError(f"[{message.encoding}] is not a color format")
        rows = np.asarray(message.data[: message.step * message.height * 3])
        planes = rows.reshape(3, message.height, message.step)[..., : message.width]
        return planes.transpose(1, 2, 0)


@pytest.fixture
def planar_bridge(monkeypatch: pytest.MonkeyPatch, bridge_cache: None) -> None:
    module = ModuleType("cv_bridge")
    module.CvBridge = PlanarBridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)


def test_an_installed_bridge_converts_what_the_table_lacks(planar_bridge: None) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    data = pixels.transpose(2, 0, 1).tobytes()
    rgb = to_rgb(data, encoding="planar_rgb", height=4, width=5, step=5)
    np.testing.assert_array_equal(rgb, pixels)
    assert rgb.flags.c_contiguous


def test_what_the_bridge_refuses_is_an_encoding_error(planar_bridge: None) -> None:
    with pytest.raises(EncodingError, match=r"'wide9'.*is not a color format"):
        to_rgb(bytes(99), encoding="wide9", height=4, width=5, step=5)


def test_a_step_the_bridge_would_misread_is_refused(planar_bridge: None) -> None:
    with pytest.raises(EncodingError, match="step 11 is no multiple of the pixel size"):
        to_rgb(bytes(99), encoding="wide", height=4, width=5, step=11)


def test_cv_bridge_agrees_on_unpadded_images() -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
    without_colour = ("8UC1", "8UC3", "8UC4", "16UC1", "nv12")  # cv_bridge converts none of these
    for encoding in set(SUPPORTED_ENCODINGS) - set(without_colour):
        step = 16 * BYTES_PER_PIXEL[encoding]
        data = np.random.default_rng(2).bytes(enough_bytes(encoding, 12, step))
        fields: dict[str, Any] = {"encoding": encoding, "height": 12, "width": 16, "step": step}
        message = SimpleNamespace(**fields, is_bigendian=0, data=np.frombuffer(data, np.uint8))
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
        # cv_bridge scales 16 bit by 255/65535 and rounds, which is one level more at most.
        np.testing.assert_allclose(to_rgb(data, **fields), theirs, atol=1, err_msg=encoding)


# --- messages --------------------------------------------------------------------------------

IMAGES_OUT = {"rgb8": (3, "u1"), "bgr8": (3, "u1"), "rgba8": (4, "u1"), "bgra8": (4, "u1")}
MAPS = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32FC1": "f4"}


def test_the_table_of_maps_is_complete() -> None:
    assert set(MAP_ENCODINGS) == set(MAPS)


@pytest.mark.parametrize("encoding", MAPS)
@quick
@given(height=sizes, width=sizes, padding=paddings, big=st.booleans(), seed=seeds)
def test_maps_keep_their_values_over_steps_and_byte_orders(
    encoding: str, height: int, width: int, padding: int, big: bool, seed: int
) -> None:
    dtype = np.dtype(MAPS[encoding])
    bits = np.random.default_rng(seed).bytes(height * width * dtype.itemsize)
    values = np.frombuffer(bits, dtype).reshape(height, width)  # floats too: NaN, infinities
    stored = values.astype(dtype.newbyteorder(">" if big else "<"))
    data, step = pad_rows([row.tobytes() for row in stored], padding)
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=int(big), data=data
    )
    read = message_to_map(message)
    assert read.tobytes() == values.tobytes()
    assert read.dtype == dtype
    assert read.flags.c_contiguous
    assert read.flags.aligned


@pytest.mark.parametrize(("encoding", "width"), product(MAPS, [1, 7]))
def test_a_written_map_is_read_back(encoding: str, width: int) -> None:
    values = np.arange(5 * width).reshape(5, width).astype(MAPS[encoding])
    message = SimpleNamespace()
    fill_image(message, values, encoding)
    assert message.data.typecode == "B"
    np.testing.assert_array_equal(message_to_map(message), values)


@pytest.mark.parametrize("encoding", IMAGES_OUT)
def test_a_written_image_is_read_back(encoding: str) -> None:
    channels, dtype = IMAGES_OUT[encoding]
    pixels = np.random.default_rng(3).integers(0, 256, (5, 7, channels), dtype)
    message = SimpleNamespace()
    fill_image(message, pixels[::-1, ::-1], encoding)  # not contiguous
    rgb = pixels[..., :3] if encoding.startswith("rgb") else pixels[..., [2, 1, 0]]
    np.testing.assert_array_equal(message_to_rgb(message), rgb[::-1, ::-1])


@pytest.mark.parametrize(
    ("image", "encoding", "match"),
    [
        (np.zeros((4, 5), np.uint8), "nv12", "cannot write encoding 'nv12'; expected one of rgb8"),
        (np.zeros((4, 5), np.uint8), "rgb8", r"expected uint8 \[H, W, 3\]"),
        (np.zeros((4, 5, 4), np.uint8), "bgr8", r"expected uint8 \[H, W, 3\]"),
        (np.zeros((4, 5, 1), np.uint8), "mono8", r"expected uint8 \[H, W\]"),
        (np.zeros((4, 5), np.float64), "32FC1", r"expected float32 \[H, W\]"),
        (np.zeros((4, 5), ">f4"), "32FC1", r"expected float32 \[H, W\]"),
        (np.zeros((0, 5), np.uint8), "mono8", r"expected uint8 \[H, W\]"),
    ],
)
def test_an_array_that_breaks_the_promise_is_not_written(
    image: np.ndarray, encoding: str, match: str
) -> None:
    with pytest.raises(EncodingError, match=match):
        fill_image(SimpleNamespace(), image, encoding)


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(MAP_ENCODINGS), st.text(max_size=8)),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    step=st.integers(0, 50),
    big=st.integers(0, 1),
    data=st.integers(0, 500).map(bytes),
)
def test_any_map_message_gives_a_map_or_an_encoding_error(
    encoding: str, height: int, width: int, step: int, big: int, data: bytes
) -> None:
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=big, data=data
    )
    try:
        values = message_to_map(message)
    except EncodingError:
        return
    assert values.shape == (height, width)


def test_a_ros_message_goes_out_and_in_unchanged() -> None:
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="sensor_msgs is not installed")
    pixels = np.random.default_rng(5).integers(0, 256, (6, 10, 3), np.uint8)
    message = sensor_msgs.Image()
    fill_image(message, pixels, "bgr8")
    assert (message.height, message.width, message.step) == (6, 10, 30)
    np.testing.assert_array_equal(message_to_rgb(message), pixels[..., ::-1])


def test_compressed_ros_messages_are_told_by_their_type() -> None:
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="sensor_msgs is not installed")
    pixels = np.random.default_rng(6).integers(0, 256, (6, 10, 3), np.uint8)
    labels = pixels[..., 0].copy()
    message = sensor_msgs.CompressedImage(format="rgb8; png compressed bgr8")
    message.data = array("B", cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(message_to_rgb(message), pixels)
    with pytest.raises(EncodingError, match="3 channels; expected a single-channel PNG"):
        message_to_map(message)
    message.data = array("B", cv2.imencode(".png", labels)[1].tobytes())
    np.testing.assert_array_equal(message_to_map(message), labels)


def test_a_message_of_a_bag_is_read_without_a_copy() -> None:
    typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    store = typesys.get_typestore(typesys.Stores.LATEST)
    pixels = np.arange(6 * 10 * 3, dtype=np.uint8)
    header = store.types["std_msgs/msg/Header"](
        store.types["builtin_interfaces/msg/Time"](1, 2), "camera"
    )
    made = store.types["sensor_msgs/msg/Image"](header, 6, 10, "rgb8", 0, 30, pixels)
    raw = store.serialize_cdr(made, "sensor_msgs/msg/Image")
    message = store.deserialize_cdr(raw, "sensor_msgs/msg/Image")
    rgb = message_to_rgb(message)
    np.testing.assert_array_equal(rgb, pixels.reshape(6, 10, 3))
    assert np.shares_memory(rgb, message.data)
