"""~/reload changes the model while frames flow, or leaves everything as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from node_rig import Rig, image_message, road_picture
from std_srvs.srv import Trigger
from tiny_bundle import write_resynthesis_bundle, write_tiny_bundle

from anomaly_seg_ros.imaging import message_to_map

MakeRig = Callable[..., Rig]
BOX = (40, 40, 100, 120)
OWN = "classes: [{id: 9, name: everything, color: [1, 2, 3], from: rest}]\n"


def reload(rig: Rig) -> Trigger.Response:
    """The answer of the service."""
    client = rig.peer.create_client(Trigger, "/detector/reload")
    rig.spin_until(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    rig.spin_until(future.done, "the answer")
    return future.result()


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another bundle: it makes a synthesis too."""
    return write_resynthesis_bundle(tmp_path / "second")


def test_another_bundle_takes_over_and_subscriptions_stay(rig: MakeRig, second: Path) -> None:
    made = rig()
    made.start()
    masks, texts = made.read("anomaly_mask"), made.read_labels()
    made.camera.publish(image_message(road_picture(box=BOX), 1))
    made.spin_until(lambda: len(masks) == 1, "a mask of the first")
    before = made.node._cameras[0]._subscription
    assert made.set_parameter("bundle", str(second)).successful
    made.spin_for(0.3)
    assert made.fresh_diagnostics()["bundle"] != str(second)  # not before it is asked for
    answer = reload(made)
    assert answer.success and str(second) in answer.message
    assert made.node._cameras[0]._subscription is before
    made.camera.publish(image_message(road_picture(box=BOX), 2))
    made.spin_until(lambda: len(masks) == 2, "a mask of the second")
    assert np.count_nonzero(message_to_map(masks[1]))
    assert made.fresh_diagnostics()["bundle"] == str(second)
    made.spin_until(lambda: json.loads(texts[-1])["method"] == "colour_resynthesis", "labels")
    pictures = made.read("synthesis")
    made.camera.publish(image_message(road_picture(), 3))
    made.spin_until(lambda: pictures, "the output that only the second makes")


def test_frames_flow_while_the_other_engine_is_opened(
    rig: MakeRig, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from anomaly_seg_ros.nodes import engine

    gate, open_engine = threading.Event(), engine.open_engine

    def slow(*given: object) -> object:
        assert gate.wait(60)
        return open_engine(*given)

    made = rig()
    made.start()
    masks = made.read("anomaly_mask")
    monkeypatch.setattr(engine, "open_engine", slow)
    made.set_parameter("bundle", str(second))
    client = made.peer.create_client(Trigger, "/detector/reload")
    made.spin_until(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    made.spin_until(lambda: made.diagnostics.get("reloading") == str(second), "the diagnostics")
    for number in range(3):
        made.camera.publish(image_message(road_picture(), number))
        made.spin_until(lambda: len(masks) == number + 1, "a mask meanwhile")  # noqa: B023
    assert made.set_parameter("max_age", 0.0).successful and not future.done()
    gate.set()
    made.spin_until(future.done, "the answer")
    assert future.result().success
    assert "reloading" not in made.fresh_diagnostics()


def test_a_damaged_bundle_leaves_the_old_one_in_place(rig: MakeRig, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "mine")
    made = rig(bundle=str(folder))
    made.start()
    masks = made.read("anomaly_mask")
    whole = (folder / "observer.onnx").read_bytes()
    (folder / "observer.onnx").write_bytes(whole[:-7])
    answer = reload(made)
    assert not answer.success and "observer.onnx" in answer.message
    assert answer.message.endswith("mine serves as before")
    made.camera.publish(image_message(road_picture(box=BOX), 1))
    made.spin_until(lambda: masks, "a mask all the same")
    assert made.state() == "active"
    (folder / "observer.onnx").write_bytes(whole)
    assert reload(made).success


def test_an_operating_point_that_the_other_bundle_lacks_is_told(
    rig: MakeRig, tmp_path: Path
) -> None:
    other = write_tiny_bundle(tmp_path / "other")
    text = (other / "bundle.yaml").read_text()
    (other / "bundle.yaml").write_text(text.replace("strict:", "bold:"))
    made = rig(operating_point="strict")
    made.start()
    made.set_parameter("bundle", str(other))
    answer = reload(made)
    assert not answer.success and "operating_point is 'strict'" in answer.message


def test_a_class_map_takes_effect(rig: MakeRig, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    made = rig()
    made.start()
    labels = made.read("segmentation")
    made.set_parameter("class_map", str(tmp_path / "own.yaml"))
    assert reload(made).success
    made.camera.publish(image_message(road_picture(), 1))
    made.spin_until(lambda: labels, "labels")
    assert (message_to_map(labels[0]) == 9).all()
    made.set_parameter("class_map", str(tmp_path / "missing.yaml"))
    answer = reload(made)
    assert not answer.success and "missing.yaml is missing" in answer.message


def test_before_configure_there_is_nothing_to_reload(rig: MakeRig) -> None:
    made = rig(autostart=False)
    answer = reload(made)
    assert not answer.success and "nothing is loaded yet" in answer.message
    assert made.state() == "unconfigured"


def test_a_bundle_that_vanished_is_told_and_an_inactive_node_stays_inactive(
    rig: MakeRig, second: Path
) -> None:
    from lifecycle_msgs.msg import Transition

    made = rig(autostart=False)
    assert made.change_state(Transition.TRANSITION_CONFIGURE)
    made.set_parameter("bundle", str(second))
    shutil.rmtree(second)
    answer = reload(made)
    assert not answer.success and f"no bundle {str(second)!r}" in answer.message
    write_resynthesis_bundle(second)
    assert reload(made).success and made.state() == "inactive"
    assert made.change_state(Transition.TRANSITION_ACTIVATE)
