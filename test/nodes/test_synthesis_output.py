"""`~/synthesis` of the detector node: with which bundles, when, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from node_rig import Rig, image_message, road_picture

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.imaging.encodings import message_to_rgb
from anomaly_seg_ros.nodes.outputs import IMAGE_OUTPUTS, image_outputs

MakeRig = Callable[..., Rig]
TOPIC = "/detector/synthesis"
BOX = (40, 40, 100, 120)


def test_the_synthesis_is_the_detectors_under_the_cameras_header(
    rig: MakeRig, three_stages: Path
) -> None:
    made = rig(bundle=str(three_stages))
    made.start()
    synthesis = made.read("synthesis")
    picture = road_picture(box=BOX)
    sent = image_message(picture, number=7)
    made.camera.publish(sent)
    made.spin_until(lambda: synthesis, "synthesis")
    with Detector(three_stages) as detector:
        expected = detector.detect(picture, ["synthesis"])[0].extras["synthesis"]
    assert synthesis[0].header == sent.header
    assert synthesis[0].encoding == "rgb8"
    np.testing.assert_array_equal(message_to_rgb(synthesis[0]), expected)


def test_stages_run_only_for_outputs_that_somebody_subscribes(
    rig: MakeRig, three_stages: Path
) -> None:
    made = rig(bundle=str(three_stages))
    made.start()
    ran: list[list[str]] = []
    run = made.node._engine.meter._runner.run

    def recording(image: np.ndarray, wanted: list[str]) -> object:
        result = run(image, wanted)
        ran.append([name for name in result.seconds if name != "total"])
        return result

    made.node._engine.meter._runner.run = recording
    labels = made.read("segmentation")
    for number, output in enumerate(("", "synthesis", "anomaly_mask"), start=1):
        if output:
            made.read(output)
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: len(labels) == number, "labels")  # noqa: B023
    stages = ["segmentation", "resynthesis", "dissimilarity"]
    assert ran == [stages[:1], stages[:2], stages]


def test_a_bundle_without_synthesis_has_no_such_topic(
    rig: MakeRig, tiny: Path, three_stages: Path
) -> None:
    made = rig()
    made.start()
    made.read("anomaly_mask")
    assert made.peer.count_publishers(TOPIC) == 0
    assert image_outputs(Bundle.open(three_stages)) == IMAGE_OUTPUTS
    assert image_outputs(Bundle.open(tiny)) == IMAGE_OUTPUTS[:-1]


def test_a_shipped_bundle_is_taken_by_its_name(
    rig: MakeRig, three_stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anomaly_seg_ros.bundle.SHIPPED", three_stages.parent)
    made = rig(bundle=three_stages.name)
    made.start()
    synthesis = made.read("synthesis")
    made.camera.publish(image_message(road_picture()))
    made.spin_until(lambda: synthesis, "synthesis")
    assert made.fresh_diagnostics()["bundle"] == "three_stages"
