"""The detector node in a real context: what goes in, what comes out, what is left undone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from node_rig import Rig, counts, image_message, jpeg_message, road_picture
from std_srvs.srv import SetBool, Trigger

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.imaging.encodings import message_to_map, message_to_rgb
from anomaly_seg_ros.nodes.outputs import label_info

MakeRig = Callable[..., Rig]
BOX = (40, 40, 100, 120)


def asked_of_detector(rig: Rig) -> list[tuple[str, ...]]:
    """Records what the real detector is asked for, frame by frame."""
    asked: list[tuple[str, ...]] = []
    detect = rig.node._engine.detector.detect

    def recording(images: object, wanted: tuple[str, ...]) -> object:
        asked.append(tuple(wanted))
        return detect(images, wanted=wanted)

    rig.node._engine.detector.detect = recording
    return asked


def hold_detector(rig: Rig) -> tuple[threading.Semaphore, list[np.ndarray]]:
    """Lets the real detector look at one frame per release; and the images it has looked at."""
    gate, seen = threading.Semaphore(0), []
    detect = rig.node._engine.detector.detect

    def held(image: np.ndarray, wanted: tuple[str, ...]) -> object:
        seen.append(image.copy())
        assert gate.acquire(timeout=15)
        return detect(image, wanted=wanted)

    rig.node._engine.detector.detect = held
    return gate, seen


def test_all_outputs_carry_the_camera_header_unchanged(rig: MakeRig) -> None:
    made = rig()
    made.start()
    outputs = [made.read(name) for name in ("anomaly_mask", "anomaly_score", "segmentation")]
    outputs.append(made.read("overlay"))
    sent = image_message(road_picture(), number=7)
    made.camera.publish(sent)
    made.spin_until(lambda: all(outputs), "all outputs")
    assert [messages[0].header for messages in outputs] == [sent.header] * 4
    assert [messages[0].encoding for messages in outputs] == ["mono8", "32FC1", "mono8", "rgb8"]
    assert {(messages[0].height, messages[0].width) for messages in outputs} == {(120, 160)}


def test_the_masks_are_what_the_detector_finds(rig: MakeRig, tiny: Path) -> None:
    made = rig()
    made.start()
    mask, score, labels = (
        made.read(name) for name in ("anomaly_mask", "anomaly_score", "segmentation")
    )
    picture = road_picture(box=BOX)
    made.camera.publish(image_message(picture))
    made.spin_until(lambda: mask and score and labels, "masks")
    with Detector(tiny) as detector:
        expected = detector.detect(picture)[0]
    np.testing.assert_array_equal(message_to_map(mask[0]), expected.mask)
    np.testing.assert_array_equal(message_to_map(score[0]), expected.score)
    np.testing.assert_array_equal(message_to_map(labels[0]), expected.labels)
    found = message_to_map(mask[0])
    assert found[70, 80] == 255 and found[10, 10] == 0
    assert message_to_map(labels[0])[10, 10] == 0


def test_the_overlay_shows_the_unknown_object(rig: MakeRig) -> None:
    made = rig()
    made.start()
    overlay = made.read("overlay")
    plain, unknown = road_picture(), road_picture(box=BOX)
    made.camera.publish(image_message(plain, 1))
    made.spin_until(lambda: len(overlay) == 1, "first overlay")
    made.camera.publish(image_message(unknown, 2))
    made.spin_until(lambda: len(overlay) == 2, "second overlay")
    before, after = (message_to_rgb(message).astype(int) for message in overlay)
    assert np.abs(after - before)[50:90, 60:100].mean() > 40
    assert np.abs(after - before)[105:, :30].mean() < 2


def test_what_nobody_subscribes_is_not_asked_of_the_detector(rig: MakeRig) -> None:
    made = rig()
    made.start()
    asked = asked_of_detector(made)
    made.camera.publish(image_message(road_picture(), 1))
    made.spin_until(
        lambda: made.fresh_diagnostics()["skipped: nobody subscribed"] == "1", "the skipped frame"
    )
    assert asked == []

    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(), 2))
    made.spin_until(lambda: masks, "mask")
    made.read("segmentation")
    made.camera.publish(image_message(road_picture(), 3))
    made.spin_until(lambda: len(masks) == 2, "mask")
    made.read("overlay")
    made.camera.publish(image_message(road_picture(), 4))
    made.spin_until(lambda: len(masks) == 3, "mask")
    assert asked == [("mask",), ("mask", "labels"), ("mask", "labels", "score")]


def test_always_process_computes_masks_for_nobody(rig: MakeRig) -> None:
    made = rig(always_process=True)
    made.start()
    asked = asked_of_detector(made)
    made.camera.publish(image_message(road_picture(box=BOX)))
    made.spin_until(lambda: asked, "the frame")
    assert asked == [("mask",)]
    made.spin_until(lambda: made.fresh_diagnostics()["masks published"] == "1", "count")
    share = float(made.diagnostics["anomaly fraction"])
    assert share == pytest.approx(60 * 80 / (120 * 160), rel=0.25)


def test_the_newest_frame_wins_and_the_others_are_counted(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    gate, seen = hold_detector(made)
    made.camera.publish(image_message(road_picture(), 1))
    made.spin_until(lambda: len(seen) == 1, "the first frame in work")
    for number in range(2, 7):
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: counts(made).received == number, "arrival")  # noqa: B023
    gate.release(2)
    made.spin_until(lambda: len(masks) == 2, "two masks")
    made.spin_for(0.1)
    assert [message.header.frame_id for message in masks] == ["camera_1", "camera_6"]
    values = made.fresh_diagnostics()
    assert values["images received"] == "6"
    assert values["masks published"] == "2"
    assert values["dropped: replaced by newer"] == "4"


def test_policy_all_loses_no_frame_even_when_the_queue_is_short(rig: MakeRig) -> None:
    made = rig(queue_policy="all", queue_depth=2)
    made.start()
    masks = made.read("anomaly_mask")
    for number in range(40):
        made.camera.publish(image_message(road_picture(), number))
        made.executor.spin_once(timeout_sec=0)
    made.spin_until(lambda: len(masks) == 40, "all masks")
    assert [message.header.frame_id for message in masks] == [f"camera_{n}" for n in range(40)]


def test_compressed_images_are_taken_from_their_own_topic(rig: MakeRig, tiny: Path) -> None:
    made = rig(image_transport="compressed")
    made.start()
    masks = made.read("anomaly_mask")
    sent = jpeg_message(road_picture(box=BOX))
    made.camera.publish(sent)
    made.spin_until(lambda: masks, "mask")
    decoded = cv2.cvtColor(cv2.imdecode(np.asarray(sent.data, np.uint8), 1), cv2.COLOR_BGR2RGB)
    with Detector(tiny) as detector:
        expected = detector.detect(decoded)[0].mask
    np.testing.assert_array_equal(message_to_map(masks[0]), expected)
    assert masks[0].header == sent.header


def test_a_region_of_interest_clears_the_mask_outside(rig: MakeRig, tmp_path: Path) -> None:
    region = np.zeros((120, 160), np.uint8)
    region[:, :80] = 255
    cv2.imwrite(str(tmp_path / "region.png"), region)
    made = rig(region=str(tmp_path / "region.png"))
    made.start()
    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(box=BOX)))
    made.spin_until(lambda: masks, "mask")
    mask = message_to_map(masks[0])
    assert mask[70, 60] == 255 and not mask[:, 80:].any()


def test_a_camera_of_another_size_than_the_region_fails_frames_not_the_node(
    rig: MakeRig, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "region.png"), np.full((120, 160), 255, np.uint8))
    made = rig(region=str(tmp_path / "region.png"))
    made.start()
    masks = made.read("anomaly_mask")
    for number in range(3):
        made.camera.publish(image_message(road_picture(60, 80), number))
        made.spin_until(
            lambda: counts(made).dropped["failed"] == number + 1,  # noqa: B023
            "the failed frame",
        )
    made.camera.publish(image_message(road_picture(), 9))
    made.spin_until(lambda: masks, "mask")
    assert len(made.logged("frame failed: the region is 120x160")) == 1
    assert sum(v == "3" for k, v in made.fresh_diagnostics().items() if "bad input" in k) == 1


def test_an_engine_that_raises_costs_one_frame(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    detect, broken = made.node._engine.detector.detect, iter([RuntimeError("the device is lost")])

    def sometimes(image: np.ndarray, wanted: tuple[str, ...]) -> object:
        for error in broken:
            raise error
        return detect(image, wanted=wanted)

    made.node._engine.detector.detect = sometimes
    made.camera.publish(image_message(road_picture(), 1))
    made.spin_until(lambda: counts(made).dropped["failed"] == 1, "the failure")
    made.camera.publish(image_message(road_picture(), 2))
    made.spin_until(lambda: masks, "mask")
    assert masks[0].header.frame_id == "camera_2"
    made.spin_until(lambda: made.logged("the device is lost"), "the report")


def test_disabled_the_node_ignores_images_until_enabled(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    assert made.call(SetBool, "enable", SetBool.Request(data=False)).success
    made.camera.publish(image_message(road_picture(), 1))
    made.spin_until(lambda: counts(made).skipped["disabled"] == 1, "skipping")
    assert made.fresh_diagnostics()["enabled"] == "False"
    assert made.summary == "disabled by ~/enable"
    assert made.call(SetBool, "enable", SetBool.Request(data=True)).success
    made.camera.publish(image_message(road_picture(), 2))
    made.spin_until(lambda: masks, "mask")
    assert [message.header.frame_id for message in masks] == ["camera_2"]


def test_frames_older_than_max_age_are_dropped_and_counted(rig: MakeRig) -> None:
    made = rig(max_age=5.0)
    made.start()
    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(), 1))  # stamped in 2023
    made.spin_until(lambda: counts(made).dropped["stale"] == 1, "the drop")
    fresh = image_message(road_picture(), 2)
    fresh.header.stamp = made.peer.get_clock().now().to_msg()
    made.camera.publish(fresh)
    made.spin_until(lambda: masks, "mask")
    assert masks[0].header == fresh.header
    assert made.fresh_diagnostics()["dropped: stale"] == "1"


def test_reset_statistics_counts_from_zero(rig: MakeRig) -> None:
    made = rig(always_process=True)
    made.start()
    made.camera.publish(image_message(road_picture()))
    made.spin_until(lambda: made.fresh_diagnostics()["masks published"] == "1", "the frame")
    assert made.call(Trigger, "reset_statistics", Trigger.Request()).success
    assert made.fresh_diagnostics()["images received"] == "0"


def test_labels_tell_a_late_subscriber_what_the_numbers_mean(rig: MakeRig) -> None:
    made = rig(operating_point="strict")
    made.start()
    texts = made.read_labels()
    made.spin_until(lambda: texts, "labels")
    labels = json.loads(texts[0])
    assert labels["classes"][0] == {
        "id": 0,
        "name": "road",
        "color": [128, 64, 128],
        "drivable": True,
    }
    assert len(labels["classes"]) == 19 and labels["unlabelled"] == 255
    assert (labels["operating_point"], labels["threshold"]) == ("strict", 0.9)
    assert labels["score_display"] == [0.0, 1.0]


def test_label_info_names_every_class(tiny: Path) -> None:
    """With stand-ins for the messages, since vision_msgs is not on the package index."""

    def vision_class(*, class_id: int, class_name: str) -> SimpleNamespace:
        return SimpleNamespace(class_id=class_id, class_name=class_name)

    bundle = Bundle.open(tiny)
    message = label_info(SimpleNamespace, vision_class, bundle, 0.25)
    assert [(item.class_id, item.class_name) for item in message.class_map[:2]] == [
        (0, "road"),
        (1, "sidewalk"),
    ]
    assert len(message.class_map) == 19 and message.threshold == 0.25


def test_diagnostics_tell_rates_times_and_the_backend(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    for number in range(5):
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: len(masks) == number + 1, "mask")  # noqa: B023
    values = made.fresh_diagnostics()
    assert values["state"] == "active" and values["backend"] == "onnxruntime"
    assert "auto" in values["backend note"]
    assert values["masks published"] == "5"
    for key in (
        "latency p50 ms",
        "run ms",
        "segmentation ms",
        "cpu engine ms/frame",
        "resident MB",
    ):
        assert float(values[key]) > 0, key
    assert values["last stamp"].startswith("1700000004.1234")


def test_silence_is_explained_when_nobody_publishes(rig: MakeRig) -> None:
    made = rig(silence_warning=0.5)
    made.peer.destroy_publisher(made.camera)
    made.spin_until(lambda: made.logged("nobody publishes on /camera/image"), "the warning")
    made.spin_until(lambda: made.summary.startswith("no image on /camera/image"), "diagnostics")


def test_silence_names_the_transport_when_the_qos_fits(rig: MakeRig) -> None:
    made = rig(silence_warning=0.5)
    made.start()
    made.spin_until(lambda: made.logged("the QoS fits, but no image arrives"), "the warning")
    assert made.logged("fastdds.xml")
