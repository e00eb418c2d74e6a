"""Our compressed images: lossless where numbers count, and named as image_transport expects."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from node_rig import road_picture
from sensor_msgs.msg import CompressedImage

from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging.encodings import message_to_map, message_to_rgb
from anomaly_seg_ros.nodes.compressed_outputs import COMPRESSIONS, fill_compressed
from anomaly_seg_ros.nodes.outputs import IMAGE_OUTPUTS


def compressed(image: np.ndarray, encoding: str, quality: int = 80) -> CompressedImage:
    message = CompressedImage()
    fill_compressed(message, image, encoding, quality)
    return message


def as_image_transport(message: CompressedImage) -> tuple[str, np.ndarray]:
    """What the subscriber of image_transport's `compressed` makes of it: encoding and pixels."""
    encoding, _, rest = message.format.partition(";")
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if encoding == "rgb8" and "compressed bgr" in rest:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return encoding, image


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (120, 160), (1080, 1920)])
def test_maps_come_back_bit_for_bit(shape: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mask = np.where(labels > 127, 255, 0).astype(np.uint8)
    for image in (labels, mask):
        message = compressed(image, "mono8")
        np.testing.assert_array_equal(message_to_map(message), image)
        encoding, again = as_image_transport(message)
        assert encoding == "mono8"
        np.testing.assert_array_equal(again, image)


def test_maps_that_are_views_come_back_bit_for_bit() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    view = whole[3:30, 5:50:2]
    np.testing.assert_array_equal(message_to_map(compressed(view, "mono8")), view)


def test_pictures_keep_their_colours() -> None:
    picture = road_picture(box=(40, 40, 100, 120))
    message = compressed(picture, "rgb8", quality=95)
    encoding, again = as_image_transport(message)
    assert encoding == "rgb8"
    for found in (again, message_to_rgb(message)):
        inside = (slice(50, 90), slice(50, 110))  # away from the edges of the box
        np.testing.assert_allclose(found[inside].astype(int), picture[inside].astype(int), atol=6)


def test_quality_is_paid_in_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    sizes = [len(compressed(noise, "rgb8", quality).data) for quality in (10, 50, 95)]
    assert sizes == sorted(set(sizes))


def test_the_formats_are_those_of_image_transport() -> None:
    assert {name: item.format for name, item in COMPRESSIONS.items()} == {
        "mono8": "mono8; png compressed ",
        "rgb8": "rgb8; jpeg compressed bgr8",
    }


def test_all_outputs_but_the_score_can_be_compressed() -> None:
    assert [item.topic for item in IMAGE_OUTPUTS if item.encoding not in COMPRESSIONS] == [
        "anomaly_score"
    ]


def test_a_message_used_again_holds_the_new_image_only() -> None:
    message = compressed(np.zeros((100, 100), np.uint8), "mono8")
    fill_compressed(message, np.full((2, 2), 7, np.uint8), "mono8", 80)
    assert isinstance(message.data, array.array)
    np.testing.assert_array_equal(message_to_map(message), np.full((2, 2), 7, np.uint8))


@pytest.mark.parametrize(
    ("image", "encoding", "text"),
    [
        (np.zeros((2, 2), np.float32), "32FC1", "encoding 32FC1 have no compressed form"),
        (np.zeros((2, 2), np.float32), "mono8", r"float32 \[2, 2\]; expected uint8 \[H, W\]"),
        (np.zeros((2, 2), np.uint8), "rgb8", r"uint8 \[2, 2\]; expected uint8 \[H, W, 3\]"),
        (np.zeros((0, 2), np.uint8), "mono8", r"uint8 \[0, 2\]"),
    ],
)
def test_what_cannot_be_compressed_is_an_error(image: np.ndarray, encoding: str, text: str) -> None:
    with pytest.raises(EncodingError, match=text):
        compressed(image, encoding)
