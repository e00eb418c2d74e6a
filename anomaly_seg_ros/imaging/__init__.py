"""Pixels in and out: message encodings, camera size to network size, pictures for people."""

from anomaly_seg_ros.imaging.compressed import compressed_size, decode_compressed
from anomaly_seg_ros.imaging.encodings import (
    SUPPORTED_ENCODINGS,
    fill_image,
    message_to_map,
    message_to_rgb,
    to_rgb,
)
from anomaly_seg_ros.imaging.fitting import Fitting

__all__ = [
    "SUPPORTED_ENCODINGS",
    "Fitting",
    "compressed_size",
    "decode_compressed",
    "fill_image",
    "message_to_map",
    "message_to_rgb",
    "to_rgb",
]
