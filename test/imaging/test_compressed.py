"""Compressed bytes: what they decode to, and that nothing damaged or absurd gets through."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging.compressed import (
    MAX_PIXELS,
    compressed_size,
    decode_compressed,
    decode_compressed_map,
)


def smooth_picture(height: int = 40, width: int = 56) -> np.ndarray:
    """uint8 [height, width, 3] RGB without fine detail, so that lossy formats stay close."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y, 4 * x, 255 - 2 * (x + y)], axis=-1).astype(np.uint8)


def encode(extension: str, rgb: np.ndarray, *parameters: int) -> bytes:
    color = rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, 3][: rgb.shape[2]]]
    done, data = cv2.imencode(extension, np.ascontiguousarray(color), list(parameters))
    assert done
    return data.tobytes()


LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)
WHOLE_FILES = {
    "png": encode(".png", smooth_picture()),
    "bmp": encode(".bmp", smooth_picture()),
    "webp": encode(".webp", smooth_picture(), *LOSSLESS_WEBP),
    "lossy webp": encode(".webp", smooth_picture(), cv2.IMWRITE_WEBP_QUALITY, 90),
    "jpeg": encode(".jpg", smooth_picture(), cv2.IMWRITE_JPEG_QUALITY, 95),
    "progressive jpeg": encode(".jpg", smooth_picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}


@pytest.mark.parametrize("kind", ["png", "bmp", "webp"])
def test_lossless_files_give_the_pixels_back(kind: str) -> None:
    rgb = decode_compressed(WHOLE_FILES[kind])
    np.testing.assert_array_equal(rgb, smooth_picture())
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "lossy webp"])
def test_lossy_files_give_nearly_the_pixels_back(kind: str) -> None:
    difference = decode_compressed(WHOLE_FILES[kind]).astype(int) - smooth_picture()
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("kind", WHOLE_FILES)
def test_the_size_is_read_from_the_header(kind: str) -> None:
    assert compressed_size(WHOLE_FILES[kind]) == (40, 56)


def test_gray_16_bit_and_alpha_become_plain_rgb() -> None:
    picture = smooth_picture()
    gray = picture[..., 0].copy()
    np.testing.assert_array_equal(decode_compressed(encode(".png", gray)), picture[..., [0, 0, 0]])
    deep = picture.astype(np.uint16) * 256 + 99
    np.testing.assert_array_equal(decode_compressed(encode(".png", deep)), picture)
    np.testing.assert_array_equal(
        decode_compressed(encode(".png", deep[..., 1].copy())), picture[..., [1, 1, 1]]
    )
    clear = np.dstack([picture, np.full(picture.shape[:2], 3, np.uint8)])
    np.testing.assert_array_equal(decode_compressed(encode(".png", clear)), picture)


def test_a_paletted_png_is_read() -> None:
    palette = bytes((10, 20, 30, 200, 100, 50))
    rows = b"".join(b"\x00" + bytes((0, 1, 1)) for _ in range(2))
    data = png_file([(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0)), (b"PLTE", palette)])
    data = data[:-12] + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert decode_compressed(data)[1].tolist() == [[10, 20, 30], [200, 100, 50], [200, 100, 50]]


def test_the_orientation_tag_does_not_turn_the_image() -> None:
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: turn right by 90 degrees
    exif = b"Exif\0\0MM\0\x2a" + struct.pack(">IH", 8, 1) + tag + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    plain = WHOLE_FILES["jpeg"]
    turned = plain[:2] + segment + plain[2:]
    by_default = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert by_default is not None
    assert by_default.shape == (56, 40, 3)
    np.testing.assert_array_equal(decode_compressed(turned), decode_compressed(plain))


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE_FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_refused(kind: str, data: st.DataObject) -> None:
    whole = WHOLE_FILES[kind]
    needed = len(whole) - (12 if kind == "png" else 0)  # a PNG without its end mark has all pixels
    keep = data.draw(st.integers(0, needed - 2))
    with pytest.raises(EncodingError):
        decode_compressed(whole[:keep])


@pytest.mark.parametrize("kind", WHOLE_FILES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_an_image_or_an_encoding_error(kind: str, data: st.DataObject) -> None:
    mutated = bytearray(WHOLE_FILES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        height, width = compressed_size(mutated)
        if height * width > 1 << 22:
            return  # a size of its own test; decoding it here would only be slow
        rgb = decode_compressed(mutated)
    except EncodingError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape == (height, width, 3)


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"BM"]
    ),
    rest=st.binary(max_size=60),
)
def test_garbage_is_an_encoding_error(start: bytes, rest: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_compressed(start + rest)


@pytest.mark.parametrize("data", [b"", b"II*\0" + bytes(40), b"GIF89a" + bytes(40)])
def test_other_content_is_refused_by_what_it_starts_with(data: bytes) -> None:
    with pytest.raises(EncodingError, match="expected a JPEG, PNG, WebP or BMP image"):
        decode_compressed(data)


# --- absurd sizes ----------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*c) for c in [*chunks, (b"IEND", b"")])


def huge_jpeg() -> bytes:
    whole = bytearray(WHOLE_FILES["jpeg"])
    at = whole.index(b"\xff\xc0")
    whole[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(whole)


HUGE_FILES = {
    "png": png_file([(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))]),
    "jpeg": huge_jpeg(),
    "webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2,
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 90_000, -90_000) + bytes(28),
}


@pytest.mark.parametrize("kind", HUGE_FILES)
def test_an_absurd_size_is_refused_before_anything_is_allocated(kind: str) -> None:
    with pytest.raises(EncodingError, match=f"at most {MAX_PIXELS} pixels"):
        decode_compressed(HUGE_FILES[kind])


# --- maps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_map_keeps_its_values(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 13), dtype)
    read = decode_compressed_map(encode(".png", values))
    np.testing.assert_array_equal(read, values)
    assert read.dtype == dtype


def test_a_lossy_map_is_refused() -> None:
    with pytest.raises(EncodingError, match="expected a PNG"):
        decode_compressed_map(WHOLE_FILES["jpeg"])


def test_a_map_with_colours_is_refused() -> None:
    with pytest.raises(EncodingError, match="3 channels; expected a single-channel PNG"):
        decode_compressed_map(WHOLE_FILES["png"])
