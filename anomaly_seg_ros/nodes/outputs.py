"""The topics the detector publishes: which are wanted, and how a detection becomes messages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import String

from anomaly_seg_ros.bundle import Bundle, OperatingPoint
from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import MAPS, Detection
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.imaging.overlay import UNLABELLED, OverlayStyle, draw_overlay
from anomaly_seg_ros.nodes.region_outputs import RegionOutput, RegionOutputs, RegionSettings
from anomaly_seg_ros.nodes.topics import output_name

RESULT_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)


@dataclass(frozen=True)
class ImageOutput:
    """One image topic: its private name, encoding and what of a Detection it needs."""

    topic: str
    encoding: str
    needs: tuple[str, ...]
    description: str


Output = ImageOutput | RegionOutput

# In the order of publication: what a vehicle brakes for leaves first, what people look at last.
IMAGE_OUTPUTS: tuple[ImageOutput, ...] = (
    ImageOutput("anomaly_mask", "mono8", ("mask",), "255 where anomalous, else 0"),
    ImageOutput("anomaly_score", "32FC1", ("score",), "score, NaN where not looked"),
    ImageOutput("segmentation", "mono8", ("labels",), "class ids, 255 where not looked"),
    ImageOutput("overlay", "rgb8", MAPS, "the picture for people"),
    ImageOutput(SYNTHESIS, "rgb8", (SYNTHESIS,), "the image resynthesised from the classes"),
)
AFTER_REGIONS = ("overlay", SYNTHESIS)  # for people
LABELS_TOPIC = "labels_json"
LABEL_INFO_TOPIC = "label_info"


def image_outputs(bundle: Bundle) -> tuple[ImageOutput, ...]:
    """The image topics of a bundle: all whose maps it makes."""
    made = {*MAPS, *bundle.outputs()}
    return tuple(output for output in IMAGE_OUTPUTS if made.issuperset(output.needs))


class DetectorOutputs:
    """The publishers of one camera of a configured detector. Image sizes follow the camera.

    `publish` is called by the worker, everything else by the executor's thread.
    """

    def __init__(self, node: Node, camera: str, bundle: Bundle) -> None:
        self._node = node
        self._bundle = bundle
        options = QoSOverridingOptions.with_default_policies()
        self._offered = image_outputs(bundle)
        self._images: dict[str, Publisher] = {
            output.topic: node.create_publisher(
                Image,
                output_name(camera, output.topic),
                RESULT_QOS,
                qos_overriding_options=options,
            )
            for output in self._offered
        }
        self._palette = np.zeros((256, 3), np.uint8)
        for item in bundle.classes:
            self._palette[item.id] = item.color
        self._class_names = {item.id: item.name for item in bundle.classes}
        self._regions = RegionOutputs(node, camera, self._class_names, RESULT_QOS)

    def wanted(self) -> list[Output]:
        """The outputs that someone subscribes to right now, in the order of publication."""
        images = [
            output
            for output in self._offered
            if self._images[output.topic].get_subscription_count() > 0
        ]
        first = [output for output in images if output.topic not in AFTER_REGIONS]
        return [*first, *self._regions.wanted(), *images[len(first) :]]

    def publish(
        self,
        outputs: Collection[Output],
        header: Any,
        image: np.ndarray,
        detection: Detection,
        style: OverlayStyle,
        legend: bool,
        regions: RegionSettings,
    ) -> tuple[dict[str, float], float]:
        """Publish `outputs` of one frame under the camera's own header.

        image: uint8 [H, W, 3] RGB; the detection holds what the outputs need. Returns wall seconds
        by name (`publish`, `overlay`, `regions`) and CPU seconds spent inside the publish calls.
        """
        seconds = {"publish": 0.0}
        transport = 0.0

        def send(publisher: Publisher, message: Any) -> None:
            nonlocal transport
            start, cpu_start = time.perf_counter(), time.thread_time()
            publisher.publish(message)
            transport += time.thread_time() - cpu_start
            seconds["publish"] += time.perf_counter() - start

        of_regions = [output for output in outputs if isinstance(output, RegionOutput)]
        for output in outputs:
            if isinstance(output, RegionOutput):
                if output is of_regions[0]:  # all of them from the same regions
                    seconds["regions"] = self._regions.publish(
                        of_regions, header, detection, regions, send
                    )
                continue
            if output.topic == "overlay":
                start = time.perf_counter()
                pixels = draw_overlay(
                    image,
                    labels=detection.labels,
                    score=detection.score,
                    mask=detection.mask,
                    palette=self._palette,
                    display=self._bundle.score_display,
                    class_names=self._class_names,
                    legend=legend,
                    style=style,
                )
                seconds["overlay"] = time.perf_counter() - start
            else:
                found = detection.array(output.needs[0])
                assert found is not None  # the detection holds what the outputs need
                pixels = found
            message = Image(header=header)
            fill_image(message, pixels, output.encoding)
            send(self._images[output.topic], message)
        return seconds, transport

    def destroy(self) -> None:
        """Take the publishers down."""
        self._regions.destroy()
        for publisher in self._images.values():
            self._node.destroy_publisher(publisher)


class LabelOutputs:
    """What the numbers in the masks mean: one description for all cameras, latched."""

    def __init__(self, node: Node, bundle: Bundle) -> None:
        self._node = node
        self._bundle = bundle
        self._labels = node.create_publisher(String, f"~/{LABELS_TOPIC}", LATCHED_QOS)
        self._label_info, self._make_label_info = self._label_info_publisher()

    def publish(self, point: OperatingPoint, threshold: float, focus: str, backend: str) -> None:
        """Publish the description of classes, score and threshold in force."""
        self._labels.publish(
            String(data=labels_json(self._bundle, point, threshold, focus, backend))
        )
        if self._label_info is not None:
            message = self._make_label_info(threshold)
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(message)

    def destroy(self) -> None:
        """Take the publishers down."""
        for publisher in (self._labels, self._label_info):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def _label_info_publisher(self) -> tuple[Publisher | None, Callable[[float], Any]]:
        try:
            from vision_msgs.msg import LabelInfo, VisionClass
        except ImportError:
            return None, lambda _: None
        publisher = self._node.create_publisher(LabelInfo, f"~/{LABEL_INFO_TOPIC}", LATCHED_QOS)
        return publisher, lambda threshold: label_info(
            LabelInfo, VisionClass, self._bundle, threshold
        )


def needed(outputs: Sequence[Output]) -> tuple[str, ...]:
    """What Detector.detect must be asked for, each name once."""
    return tuple(dict.fromkeys(name for output in outputs for name in output.needs))


def labels_json(
    bundle: Bundle, point: OperatingPoint, threshold: float, focus: str, backend: str
) -> str:
    """What the numbers in the masks mean, as JSON."""
    low, high = bundle.score_display
    return json.dumps(
        {
            "bundle": bundle.name,
            "method": bundle.method,
            "backend": backend,
            "classes": [
                {
                    "id": item.id,
                    "name": item.name,
                    "color": list(item.color),
                    "drivable": item.drivable,
                }
                for item in bundle.classes
            ],
            "unlabelled": UNLABELLED,
            "score_display": [low, high],
            "operating_point": point.name,
            "threshold": threshold,
            "focus": focus,
        }
    )


def label_info(info_type: Any, class_type: Any, bundle: Bundle, threshold: float) -> Any:
    """A vision_msgs/LabelInfo; the message types are passed in because they are optional."""
    message = info_type()
    message.class_map = [
        class_type(class_id=item.id, class_name=item.name) for item in bundle.classes
    ]
    message.threshold = float(threshold)
    return message
