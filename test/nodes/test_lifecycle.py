"""The states of the detector node and its parameters, through the services other programs use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from node_rig import Rig, image_message, road_picture
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map

MakeRig = Callable[..., Rig]
BOX = (40, 40, 100, 120)


def test_autostart_configures_and_activates(rig: MakeRig) -> None:
    made = rig()
    made.start()
    assert made.state() == "active"
    progress = made.logged(": configure")
    assert ["1/3" in progress[0], "2/3" in progress[1], "3/3" in progress[2]] == [True] * 3
    assert "configured in" in progress[3]


def test_without_autostart_every_state_can_be_walked_twice(rig: MakeRig) -> None:
    made = rig(autostart=False)
    assert made.state() == "unconfigured"
    for _ in range(2):
        assert made.change_state(Transition.TRANSITION_CONFIGURE)
        assert made.state() == "inactive"
        assert made.camera.get_subscription_count() == 0
        assert made.change_state(Transition.TRANSITION_ACTIVATE)
        made.start()
        masks = made.read("anomaly_mask")
        made.camera.publish(image_message(road_picture()))
        made.spin_until(lambda: masks, "mask")  # noqa: B023
        assert made.change_state(Transition.TRANSITION_DEACTIVATE)
        made.spin_until(lambda: made.camera.get_subscription_count() == 0, "unsubscribing")
        assert made.change_state(Transition.TRANSITION_CLEANUP)
        assert made.node._engine is None
        assert made.state() == "unconfigured"
    assert made.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert made.state() == "finalized"


def test_an_active_node_can_be_shut_down_at_once(rig: MakeRig) -> None:
    made = rig()
    made.start()
    assert made.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert made.state() == "finalized"
    made.spin_until(lambda: made.camera.get_subscription_count() == 0, "unsubscribing")


def test_a_bad_bundle_fails_the_transition_with_its_reason_and_can_be_mended(
    rig: MakeRig, tiny: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    graph = next(broken.glob("*.onnx"))
    content = graph.read_bytes()
    graph.write_bytes(content[:-100])
    made = rig(bundle=str(broken), autostart=False)
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    assert made.state() == "unconfigured"
    made.spin_until(lambda: made.logged("cannot configure: bundle"), "the reason")
    made.spin_until(lambda: made.logged(graph.name), "the name of the broken file")
    made.fresh_diagnostics()
    assert made.summary.startswith("cannot configure")

    graph.write_bytes(content)
    assert made.change_state(Transition.TRANSITION_CONFIGURE)
    made.fresh_diagnostics()
    assert made.summary == "inactive"


def test_autostart_with_a_bad_bundle_leaves_a_node_that_answers(rig: MakeRig) -> None:
    made = rig(bundle="/nowhere/at/all")
    made.spin_until(lambda: made.logged("cannot configure"), "the reason")
    assert "/nowhere/at/all" in made.logged("cannot configure")[0]
    assert made.state() == "unconfigured"


def test_an_unknown_backend_fails_with_what_exists(rig: MakeRig) -> None:
    made = rig(backend="abacus", autostart=False)
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    made.spin_until(lambda: made.logged("onnxruntime"), "the reason")
    assert "abacus" in made.logged("cannot configure")[0]


def test_an_unknown_operating_point_fails_with_what_exists(rig: MakeRig) -> None:
    made = rig(operating_point="bold", autostart=False)
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    made.spin_until(lambda: made.logged("default, strict, road, large"), "the reason")


def test_a_wrong_qos_override_fails_activation_with_the_reason(rig: MakeRig) -> None:
    name = "qos_overrides./camera/image.subscription.reliability"
    made = rig(autostart=False, **{name: "perhaps"})
    assert made.change_state(Transition.TRANSITION_CONFIGURE)
    assert not made.change_state(Transition.TRANSITION_ACTIVATE)
    made.spin_until(lambda: made.logged("cannot subscribe to /camera/image"), "the reason")
    assert made.state() == "inactive"


def test_qos_of_the_camera_can_be_overridden(rig: MakeRig) -> None:
    made = rig(**{"qos_overrides./camera/image.subscription.reliability": "reliable"})
    made.start()
    info = made.peer.get_subscriptions_info_by_topic("/camera/image")[0]
    assert info.qos_profile.reliability.name == "RELIABLE"


def test_parameters_refuse_what_they_cannot_be(rig: MakeRig) -> None:
    made = rig()
    made.start()
    for name, value, reason in (
        ("max_age", -1.0, "out of range"),
        ("overlay.class_opacity", 1.5, "out of range"),
        ("focus", "sideways", "expected one of"),
        ("operating_point", "bold", "default, strict"),
        ("cameras", ["other"], "read-only"),
        ("queue_depth", 4, "read-only"),
        ("threshold", "high", "Wrong parameter type"),
    ):
        result = made.set_parameter(name, value)
        assert not result.successful and reason in result.reason, (name, result)
    assert made.state() == "active"


@pytest.mark.parametrize(
    ("parameters", "error", "reason"),
    [
        ({"threads": 1000}, InvalidParameterValueException, "out of range"),
        ({"threads": "many"}, InvalidParameterTypeException, "threads"),
        ({"queue_policy": "some"}, NodeError, "'latest', 'all'"),
    ],
)
def test_a_node_is_not_built_from_wrong_parameters(
    tiny: Path, parameters: dict[str, object], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        Rig({"bundle": str(tiny), **parameters})


def test_the_threshold_changes_while_frames_flow(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks, texts = made.read("anomaly_mask"), made.read_labels()
    picture = road_picture()
    picture[40:100, 40:120] = (0, 225, 225)  # near the colour of unknown objects: score 0.58
    made.camera.publish(image_message(picture, 1))
    made.spin_until(lambda: len(masks) == 1, "mask")
    assert made.set_parameter("threshold", 0.8).successful
    made.camera.publish(image_message(picture, 2))
    made.spin_until(lambda: len(masks) == 2, "mask")
    assert made.set_parameter("threshold", float("nan")).successful
    made.camera.publish(image_message(picture, 3))
    made.spin_until(lambda: len(masks) == 3, "mask")
    assert made.set_parameter("operating_point", "strict").successful
    made.camera.publish(image_message(picture, 4))
    made.spin_until(lambda: len(masks) == 4, "mask")
    assert [bool(message_to_map(mask)[70, 80]) for mask in masks] == [True, False, True, False]
    made.spin_until(lambda: json.loads(texts[-1])["threshold"] == 0.9, "the new labels")


def test_a_negative_threshold_means_the_operating_point(rig: MakeRig) -> None:
    made = rig(threshold=-1.0)
    made.start()
    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(box=BOX)))
    made.spin_until(lambda: masks, "mask")
    assert 0 < np.count_nonzero(message_to_map(masks[0])) < 120 * 160 / 2


def test_focus_road_keeps_what_stands_on_the_road_only(rig: MakeRig) -> None:
    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    picture = road_picture()
    picture[:60] = (70, 130, 180)  # sky
    picture[10:30, 100:140] = (0, 255, 255)  # unknown, in the sky
    picture[80:110, 20:60] = (0, 255, 255)  # unknown, on the road
    made.camera.publish(image_message(picture, 1))
    made.spin_until(lambda: len(masks) == 1, "mask")
    assert made.set_parameter("focus", "road").successful
    made.camera.publish(image_message(picture, 2))
    made.spin_until(lambda: len(masks) == 2, "mask")
    assert made.set_parameter("focus", "").successful
    made.camera.publish(image_message(picture, 3))
    made.spin_until(lambda: len(masks) == 3, "mask")
    found = [message_to_map(mask) for mask in masks]
    assert [bool(mask[20, 120]) for mask in found] == [True, False, True]
    assert [bool(mask[95, 40]) for mask in found] == [True, True, True]
