"""Several cameras in one detector node: names, topics, turns, states, diagnostics."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_rig import Rig, cameras_of, counts, image_message, road_picture, send, values_of
from rclpy.context import Context
from std_srvs.srv import SetBool, Trigger

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.nodes.diagnostics import status_values
from anomaly_seg_ros.nodes.topics import checked_names, info_topic, input_topic

MakeRig = Callable[..., Rig]
NAMES = ["front", "left", "rear"]
BOX = (40, 40, 100, 120)


def test_each_camera_has_its_own_topics_and_the_labels_are_of_the_node(rig: MakeRig) -> None:
    made = rig(cameras=NAMES)
    cameras_of(made, NAMES)

    def topics() -> set[str]:
        found = made.peer.get_publisher_names_and_types_by_node("detector", "/")
        return {topic for topic, _ in found if topic.startswith("/detector/")}

    made.spin_until(lambda: "/detector/rear/debug/cyclic_time_ms" in topics(), "the last topic")
    published = topics()
    for name in NAMES:
        for output in ("anomaly_mask", "anomaly_score", "segmentation", "overlay", "markers"):
            assert f"/detector/{name}/{output}" in published
    assert "/detector/labels_json" in published
    assert not {"/detector/anomaly_mask", "/detector/front/labels_json"} & published
    assert made.camera.get_subscription_count() == 0
    subscribed = dict(made.peer.get_subscriber_names_and_types_by_node("detector", "/"))
    assert {"/front/camera_info", "/left/camera_info", "/rear/camera_info"} <= subscribed.keys()
    assert made.logged("waiting for images on /front/image, /left/image, /rear/image")


def test_one_camera_with_a_name_is_a_camera_with_a_name(rig: MakeRig) -> None:
    made = rig(cameras=["front"])
    cameras_of(made, ["front"])
    masks = made.read("front/anomaly_mask")
    assert made.peer.count_publishers("/detector/anomaly_mask") == 0
    made.fresh_diagnostics()
    assert set(made.statuses) == {"/detector: anomaly segmentation", "/detector: front"}
    assert not masks


def test_masks_go_out_under_the_camera_they_belong_to(rig: MakeRig, tiny: Path) -> None:
    made = rig(cameras=NAMES)
    cameras = cameras_of(made, NAMES)
    masks = {name: made.read(f"{name}/anomaly_mask") for name in NAMES}
    pictures = {name: road_picture(60 + 30 * i, 160) for i, name in enumerate(NAMES)}
    for i, picture in enumerate(pictures.values()):
        picture[10:50, 40 * i : 40 * i + 40] = (0, 255, 255)
    sent = {name: image_message(pictures[name], i) for i, name in enumerate(NAMES)}
    for i, name in enumerate(NAMES):
        send(made, cameras[name], name, pictures[name], i)
    made.spin_until(lambda: all(masks.values()), "all masks")
    with Detector(tiny) as detector:
        for name in NAMES:
            assert masks[name][0].header == sent[name].header
            expected = detector.detect(pictures[name])[0].mask
            np.testing.assert_array_equal(message_to_map(masks[name][0]), expected)
    made.spin_for(0.1)
    assert [len(found) for found in masks.values()] == [1, 1, 1]


def test_each_input_is_remapped_by_itself() -> None:
    context = Context()
    rclpy.init(args=[], context=context)
    arguments = ["-r", "front/image:=/cameras/front/image_raw", "-r", "rear/camera_info:=/lens"]
    node = rclpy.create_node(
        "any", namespace="car", context=context, cli_args=["--ros-args", *arguments]
    )
    found = {
        name: (input_topic(node, name, "compressed"), info_topic(node, name))
        for name in ("front", "rear")
    }
    node.destroy_node()
    context.try_shutdown()
    assert found == {
        "front": ("/cameras/front/image_raw/compressed", "/cameras/front/camera_info"),
        "rear": ("/car/rear/image/compressed", "/lens"),
    }


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["front-left"], "'front-left'.*letters, digits and underscores"),
        (["1st"], "beginning with no digit"),
        (["rig/front"], "'rig/front'"),
        (["front", ""], "has ''"),
        (["a", "b", "a"], "has a more than once"),
    ],
)
def test_names_that_cannot_be_topics_are_refused(names: list[str], reason: str) -> None:
    with pytest.raises(NodeError, match=reason):
        checked_names(names)


def test_no_name_is_one_camera_without_a_name() -> None:
    assert checked_names([]) == checked_names([""]) == [""]
    assert checked_names(["front", "Front_2"]) == ["front", "Front_2"]


def test_a_wrong_name_fails_configure_and_the_node_lives_on(rig: MakeRig) -> None:
    made = rig(cameras=["front", "front"])
    made.spin_until(lambda: made.logged("cannot configure: cameras has front"), "the reason")
    assert made.state() == "unconfigured"
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    made.fresh_diagnostics()
    (status,) = made.statuses.values()
    assert status.level == DiagnosticStatus.ERROR and "more than once" in status.message


def test_a_list_that_ros_cannot_carry_is_refused_with_what_is_expected(tiny: Path) -> None:
    """`cameras: []` in a parameter file arrives as a parameter without a value."""
    with pytest.raises(NodeError, match=r"string_array such as the default \[''\]"):
        Rig({"bundle": str(tiny), "cameras": None})


def test_a_camera_at_ten_times_the_rate_starves_no_other(rig: MakeRig) -> None:
    made = rig(cameras=NAMES)
    cameras = cameras_of(made, NAMES)
    masks = {name: made.read(f"{name}/anomaly_mask") for name in NAMES}
    gate, detect = threading.Semaphore(0), made.node._engine.detector.detect

    def held(images: list[np.ndarray], wanted: tuple[str, ...]) -> object:
        assert gate.acquire(timeout=30)
        return detect(images, wanted=wanted)

    made.node._engine.detector.detect = held
    rounds, picture = 6, road_picture()
    send(made, cameras["front"], "front", picture, 0)  # in work until the gate opens
    for number in range(1, rounds + 1):
        for i in range(10):
            send(made, cameras["front"], "front", picture, 10 * number + i)
            if i == 4:
                send(made, cameras["left"], "left", picture, number)
                send(made, cameras["rear"], "rear", picture, number)
        gate.release(3)  # three frames of the engine's time for twelve that came
        made.spin_until(
            lambda: sum(map(len, masks.values())) == 3 * number,  # noqa: B023
            "three masks",
        )
    assert {name: len(found) for name, found in masks.items()} == dict.fromkeys(NAMES, rounds)
    assert counts(made, "left").dropped["replaced by newer"] == 0
    lost = counts(made, "front").dropped["replaced by newer"]
    assert counts(made, "front").received == rounds * 10 + 1 == rounds + lost + 1
    gate.release(3)


def test_policy_all_loses_no_frame_of_any_camera(rig: MakeRig) -> None:
    made = rig(cameras=["front", "rear"], queue_policy="all", queue_depth=2)
    cameras = cameras_of(made, ["front", "rear"])
    masks = {name: made.read(f"{name}/anomaly_mask") for name in cameras}
    for number in range(20):
        cameras["front"].publish(image_message(road_picture(), number))
        if number % 5 == 0:
            cameras["rear"].publish(image_message(road_picture(), number))
        made.executor.spin_once(timeout_sec=0)
    made.spin_until(lambda: len(masks["front"]) == 20 and len(masks["rear"]) == 4, "all masks")
    found = {name: [m.header.frame_id for m in masks[name]] for name in cameras}
    assert found["front"] == [f"camera_{n}" for n in range(20)]
    assert found["rear"] == [f"camera_{n}" for n in range(0, 20, 5)]


def test_every_state_can_be_walked_twice_with_several_cameras(rig: MakeRig) -> None:
    made = rig(cameras=["front", "rear"], autostart=False)
    for number in range(1, 3):
        assert made.change_state(Transition.TRANSITION_CONFIGURE)
        assert made.peer.count_subscribers("/rear/image") == 0
        assert made.change_state(Transition.TRANSITION_ACTIVATE)
        cameras = cameras_of(made, ["front", "rear"])
        masks = {name: made.read(f"{name}/anomaly_mask") for name in cameras}
        for name, camera in cameras.items():
            camera.publish(image_message(road_picture(), number))
            made.spin_until(lambda: masks[name], f"mask of {name}")  # noqa: B023
        assert made.change_state(Transition.TRANSITION_DEACTIVATE)
        for camera in cameras.values():
            made.spin_until(lambda: camera.get_subscription_count() == 0, "unsubscribing")  # noqa: B023
            made.peer.destroy_publisher(camera)
        assert made.change_state(Transition.TRANSITION_CLEANUP)
        made.spin_until(
            lambda: made.peer.count_publishers("/detector/rear/anomaly_mask") == 0, "freeing"
        )
        assert made.node._engine is None and made.state() == "unconfigured"
    assert counts(made, "rear").finished == 2


def test_a_camera_that_cannot_be_subscribed_leaves_none_subscribed(rig: MakeRig) -> None:
    override = {"qos_overrides./rear/image.subscription.reliability": "perhaps"}
    made = rig(cameras=["front", "rear"], autostart=False, **override)
    assert made.change_state(Transition.TRANSITION_CONFIGURE)
    assert not made.change_state(Transition.TRANSITION_ACTIVATE)
    made.spin_until(lambda: made.logged("cannot subscribe to /rear/image"), "the reason")
    assert made.state() == "inactive"
    made.spin_until(lambda: made.peer.count_subscribers("/front/image") == 0, "unsubscribing")


def test_diagnostics_have_a_status_of_the_node_and_one_of_each_camera(rig: MakeRig) -> None:
    made = rig(cameras=["front", "rear"], always_process=True, silence_warning=1.0)
    cameras = cameras_of(made, ["front", "rear"])

    def rear_is_silent() -> bool:
        send(made, cameras["front"], "front", road_picture(), 1)
        made.fresh_diagnostics()
        return made.statuses["/detector: rear"].level == DiagnosticStatus.WARN

    made.spin_until(rear_is_silent, "the warning about the rear camera")
    node = made.statuses["/detector: anomaly segmentation"]
    front, rear = (made.statuses[f"/detector: {name}"] for name in ("front", "rear"))
    assert (node.level, front.level) == (DiagnosticStatus.OK, DiagnosticStatus.OK)
    assert rear.message.startswith("no image on /rear/image for")
    assert node.hardware_id == rear.hardware_id == "cpu"
    assert status_values(node)["backend"] == "onnxruntime" and "masks/s out" in node.message
    assert "masks published" not in status_values(node)
    assert "backend" not in values_of(made, "front")
    assert int(values_of(made, "front")["masks published"]) >= 1
    assert values_of(made, "rear")["masks published"] == "0"
    assert values_of(made, "rear")["input topic"] == "/rear/image"
    made.spin_until(lambda: made.logged("camera rear: no image for"), "the log line")
    assert not made.logged("camera front: no image for")


def test_enable_and_reset_act_on_all_cameras(rig: MakeRig) -> None:
    made = rig(cameras=["front", "rear"])
    cameras = cameras_of(made, ["front", "rear"])
    assert made.call(SetBool, "enable", SetBool.Request(data=False)).success
    for name, camera in cameras.items():
        send(made, camera, name, road_picture(), 1)
    assert [counts(made, name).skipped["disabled"] for name in cameras] == [1, 1]
    made.fresh_diagnostics()
    assert {status.message for status in made.statuses.values()} == {"disabled by ~/enable"}
    assert made.call(Trigger, "reset_statistics", Trigger.Request()).success
    assert [counts(made, name).received for name in cameras] == [0, 0]
