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
from anomaly_seg_ros.imaging.overlay import OverlayStyle, draw_overlay
from anomaly_seg_ros.imaging.panels import draw_panels
from anomaly_seg_ros.imaging.shrinking import shrink_map

__all__ = [
    "SUPPORTED_ENCODINGS",
    "Fitting",
    "OverlayStyle",
    "compressed_size",
    "decode_compressed",
    "draw_overlay",
    "draw_panels",
    "fill_image",
    "message_to_map",
    "message_to_rgb",
    "shrink_map",
    "to_rgb",
]
