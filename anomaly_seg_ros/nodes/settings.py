"""What can be changed while frames flow: from the node's parameters into the detector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.overlay import OverlayStyle
from anomaly_seg_ros.nodes.detector_parameters import overlay_style
from anomaly_seg_ros.nodes.region_outputs import RegionSettings, region_settings


@dataclass(frozen=True)
class Settings:
    """The dynamic parameters, the same for every camera. None: as the operating point has it."""

    operating_point: str = "default"
    threshold: float | None = None
    focus: str | None = None
    max_age: float = 0.0  # seconds, 0: no limit
    always_process: bool = False
    style: OverlayStyle = field(default_factory=OverlayStyle)
    legend: bool = True
    output_scale: float = 1.0  # of the maps for programs
    jpeg_quality: int = 80
    regions: RegionSettings = field(default_factory=RegionSettings)


def settings_from(given: Mapping[str, Any], bundle: Bundle) -> Settings:
    """From the parameters by name. Raises NodeError when the bundle does not know them."""
    name = given["operating_point"]
    if name not in bundle.operating_points:
        known = ", ".join(bundle.operating_points)
        raise NodeError(f"operating_point is {name!r}, but bundle {bundle.name} has only: {known}")
    threshold: float = given["threshold"]
    never_negative = bundle.score_display[0] >= 0
    of_the_point = math.isnan(threshold) or (threshold < 0 and never_negative)
    return Settings(
        operating_point=name,
        threshold=None if of_the_point else threshold,
        focus=given["focus"] or None,
        max_age=given["max_age"],
        always_process=given["always_process"],
        style=overlay_style(given),
        legend=given["overlay.legend"],
        output_scale=given["output_scale"],
        jpeg_quality=given["jpeg_quality"],
        regions=region_settings(given),
    )


def apply(settings: Settings, detector: Detector) -> None:
    """Put the operating point, threshold and focus of `settings` in force."""
    detector.focus = settings.focus
    detector.operating_point = settings.operating_point
    if settings.threshold is not None:
        detector.threshold = settings.threshold
