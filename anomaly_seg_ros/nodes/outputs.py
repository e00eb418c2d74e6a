"""The topics the detector publishes: which are wanted, and how a detection becomes messages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from anomaly_seg_ros.bundle import Bundle, OperatingPoint
from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import MAPS, Detection
from anomaly_seg_ros.imaging.encodings import fill_image
from anomaly_seg_ros.imaging.overlay import UNLABELLED, draw_overlay
from anomaly_seg_ros.imaging.shrinking import shrink_map
from anomaly_seg_ros.nodes.compressed_outputs import COMPRESSIONS, SUFFIX, fill_compressed
from anomaly_seg_ros.nodes.events.recorder import EventRecorder
from anomaly_seg_ros.nodes.region_outputs import RegionOutput, RegionOutputs
from anomaly_seg_ros.nodes.settings import Settings
from anomaly_seg_ros.nodes.topics import output_name
from anomaly_seg_ros.replay.bag_reader import header_stamp

RESULT_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)


@dataclass(frozen=True)
class ImageOutput:
    """One image topic: its private name, encoding and what of a Detection it needs.

    scales: whether it may be smaller than the camera's image (parameter output_scale).
    """

    topic: str
    encoding: str
    needs: tuple[str, ...]
    description: str
    scales: bool = False


@dataclass(frozen=True)
class CompressedOutput:
    """The compressed form of an image topic, beside it as image_transport has it."""

    image: ImageOutput

    @property
    def topic(self) -> str:
        return self.image.topic + SUFFIX

    @property
    def needs(self) -> tuple[str, ...]:
        return self.image.needs


Output = ImageOutput | CompressedOutput | RegionOutput

# In the order of publication: what a vehicle brakes for leaves first, what people look at last.
MASK = ImageOutput("anomaly_mask", "mono8", ("mask",), "255 where anomalous, else 0", scales=True)
IMAGE_OUTPUTS: tuple[ImageOutput, ...] = (
    MASK,
    ImageOutput("anomaly_score", "32FC1", ("score",), "score, NaN where not looked", scales=True),
    ImageOutput(
        "segmentation", "mono8", ("labels",), "class ids, 255 where not looked", scales=True
    ),
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


def with_compressed(outputs: Iterable[ImageOutput]) -> Iterator[ImageOutput | CompressedOutput]:
    """Each image topic, followed by its compressed form where it has one."""
    for output in outputs:
        yield output
        if output.encoding in COMPRESSIONS:
            yield CompressedOutput(output)


@dataclass(frozen=True)
class Published:
    """seconds: wall, by name (`publish`, `overlay`, `compress`, `regions`). transport: CPU seconds
    spent inside the publish calls. regions: reported ones; None where nobody looked for any."""

    seconds: dict[str, float]
    transport: float
    regions: int | None


class DetectorOutputs:
    """The publishers of one camera of a configured detector. Image sizes follow the camera.

    `wanted` and `publish` are called by the worker, everything else by the executor's thread while
    no worker runs.
    """

    def __init__(self, node: Node, camera: str, bundle: Bundle, recorder: EventRecorder) -> None:
        """recorder: is offered all that is published, and gets the mask of every frame."""
        self._node = node
        self._camera = camera
        self._recorder = recorder
        self._publishers: dict[ImageOutput | CompressedOutput, Publisher] = {}
        self._regions = RegionOutputs(node, camera, {}, RESULT_QOS)
        self.serve(bundle)

    def serve(self, bundle: Bundle) -> None:
        """Publish for this bundle from now on; topics that stay are not made anew."""
        self._bundle = bundle
        self._palette, self._class_names = bundle.palette(), bundle.class_names()
        self._regions.class_names = self._class_names
        offered = list(with_compressed(image_outputs(bundle)))
        for output in [output for output in self._publishers if output not in offered]:
            self._node.destroy_publisher(self._publishers.pop(output))
        made = self._publishers
        self._publishers = {output: made.get(output) or self._made(output) for output in offered}

    def wanted(self) -> list[Output]:
        """The outputs that someone subscribes to right now, in the order of publication."""
        armed = self._recorder.armed
        images = [
            output
            for output, publisher in self._publishers.items()
            if publisher.get_subscription_count() > 0 or (armed and output is MASK)
        ]
        last = [output for output in images if output.topic.startswith(AFTER_REGIONS)]
        return [*images[: len(images) - len(last)], *self._regions.wanted(armed), *last]

    def publish(
        self,
        outputs: Collection[Output],
        header: Any,
        image: np.ndarray,
        detection: Detection,
        settings: Settings,
    ) -> Published:
        """Publish `outputs` of one frame under the camera's own header.

        image: uint8 [H, W, 3] RGB; the detection holds what the outputs need.
        """
        seconds = {"publish": 0.0}
        transport = 0.0
        stamp = header_stamp(header, self._node.get_clock().now().nanoseconds)

        def send(publisher: Publisher, message: Any) -> None:
            nonlocal transport
            start, cpu_start = time.perf_counter(), time.thread_time()
            publisher.publish(message)
            transport += time.thread_time() - cpu_start
            seconds["publish"] += time.perf_counter() - start
            self._recorder.offer(self._camera, publisher.topic_name, message, stamp)

        regions = None
        of_regions = [output for output in outputs if isinstance(output, RegionOutput)]
        made: dict[str, np.ndarray] = {}  # by topic
        for output in outputs:
            if isinstance(output, RegionOutput):
                if output is of_regions[0]:  # all of them from the same regions
                    seconds["regions"], regions = self._regions.publish(
                        of_regions, header, detection, settings.regions, send
                    )
                continue
            base = output.image if isinstance(output, CompressedOutput) else output
            if base.topic not in made:
                start = time.perf_counter()
                made[base.topic] = self._pixels(base, image, detection, settings)
                if base.topic == "overlay":
                    seconds["overlay"] = time.perf_counter() - start
            if isinstance(output, CompressedOutput):
                start = time.perf_counter()
                message: Any = CompressedImage(header=header)
                fill_compressed(message, made[base.topic], base.encoding, settings.jpeg_quality)
                past = seconds.get("compress", 0.0)
                seconds["compress"] = past + time.perf_counter() - start
            else:
                message = Image(header=header)
                fill_image(message, made[base.topic], base.encoding)
            send(self._publishers[output], message)
        return Published(seconds, transport, regions)

    def destroy(self) -> None:
        """Take the publishers down."""
        self._regions.destroy()
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _made(self, output: ImageOutput | CompressedOutput) -> Publisher:
        return self._node.create_publisher(
            CompressedImage if isinstance(output, CompressedOutput) else Image,
            output_name(self._camera, output.topic),
            RESULT_QOS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _pixels(
        self, output: ImageOutput, image: np.ndarray, detection: Detection, settings: Settings
    ) -> np.ndarray:
        if output.topic == "overlay":
            return draw_overlay(
                image,
                labels=detection.labels,
                score=detection.score,
                mask=detection.mask,
                palette=self._palette,
                display=self._bundle.score_display,
                class_names=self._class_names,
                legend=settings.legend,
                style=settings.style,
            )
        found = detection.array(output.needs[0])
        assert found is not None  # the detection holds what the outputs need
        if output.scales:
            found = shrink_map(found, settings.output_scale, any_of=output is MASK)
        return found


class LabelOutputs:
    """What the numbers in the masks mean: one description for all cameras, latched."""

    def __init__(self, node: Node, bundle: Bundle) -> None:
        self._node = node
        self.bundle = bundle  # may be replaced
        self._labels = node.create_publisher(String, f"~/{LABELS_TOPIC}", LATCHED_QOS)
        self._label_info, self._make_label_info = self._label_info_publisher()

    def publish(self, point: OperatingPoint, threshold: float, focus: str, backend: str) -> String:
        """Publish the description of classes, score and threshold in force, and return it."""
        description = String(data=labels_json(self.bundle, point, threshold, focus, backend))
        self._labels.publish(description)
        if self._label_info is not None:
            message = self._make_label_info(threshold)
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(message)
        return description

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
            LabelInfo, VisionClass, self.bundle, threshold
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
