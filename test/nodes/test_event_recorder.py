"""Recordings of detections: what is in them, when they start and end, what they cost the node."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_rig import (
    ABOUT,
    IMAGE_TOPIC,
    MASK_TOPIC,
    PATIENCE,
    EventRig,
    event_of,
    numbers_in,
    picture,
    ros_message,
    stamp_of,
)
from node_rig import image_message, jpeg_message, road_picture
from std_msgs.msg import String

from anomaly_seg_ros.cli.main import main as anomaly_seg
from anomaly_seg_ros.nodes.events import recorder
from anomaly_seg_ros.replay.bag_reader import Bag
from anomaly_seg_ros.replay.sources import RawMessage

MakeRig = Callable[..., EventRig]


# -- what a recording holds ------------------------------------------------------------------------


def test_a_recording_holds_the_seconds_before_and_after_a_detection(event_rig: MakeRig) -> None:
    made = event_rig()
    made.images(1, 10)
    assert made.recorder.trigger("front", "region")
    made.images(11, 20)
    folder = made.finished()
    assert numbers_in(folder) == [7, 8, 9, 10, 11]
    assert folder.name.endswith("Z_front") and folder.parent.name == "events"
    size = (folder / f"{folder.name}.mcap").stat().st_size
    assert made.recorder.status()["recording: bytes written"] == str(size)
    assert made.told == []
    assert not list(folder.parent.glob(".*"))


def test_a_recording_ends_though_no_image_comes_any_more(event_rig: MakeRig) -> None:
    made = event_rig()
    made.images(1, 2)
    made.recorder.trigger("front", "region")
    made.clock.now += 2
    assert numbers_in(made.finished()) == [1, 2]


def test_results_and_compressed_images_lie_beside_the_images(event_rig: MakeRig) -> None:
    made = event_rig()
    mask, jpeg = image_message(road_picture()[..., 0], 1, "mono8"), jpeg_message(road_picture(), 1)
    text = String(data="labels")
    made.image(1)
    made.recorder.offer("front", MASK_TOPIC, mask, stamp_of(1))
    made.recorder.offer("front", "/front/image_raw/compressed", jpeg, stamp_of(1))
    made.recorder.offer("front", "/detector/text", text, stamp_of(1))
    made.recorder.trigger("front", "mask")
    made.recorder.close()
    bag = Bag(made.finished())
    for topic, message in (
        (MASK_TOPIC, mask),
        ("/front/image_raw/compressed", jpeg),
        ("/detector/text", text),
    ):
        found = list(bag.messages(topic))
        assert [(ros_message(one), one.log_ns) for one in found] == [(message, stamp_of(1))]
    bag.close()


def test_latched_messages_begin_each_recording(event_rig: MakeRig) -> None:
    made = event_rig(pause=0)
    for number in (0, 1):  # the newest counts
        made.recorder.latch("front", "/detector/labels_json", String(data=f"labels {number}"))
    for start, count in ((5, 1), (15, 2)):
        made.image(start)
        made.recorder.trigger("front", "region")
        made.clock.now += 2
        bag = Bag(made.finished(count))
        latched = list(bag.messages("/detector/labels_json"))
        bag.close()
        assert [(one.log_ns, bag.decode(one).data) for one in latched] == [
            (stamp_of(start), "labels 1")
        ]


def test_zstd_stores_the_same_messages_in_less_room(event_rig: MakeRig, tmp_path: Path) -> None:
    sizes = {}
    for compress in (False, True):
        made = event_rig(tmp_path / str(compress), compress=compress)
        message = image_message(np.zeros((200, 300, 3), np.uint8), 1)
        made.recorder.offer("front", IMAGE_TOPIC, message, stamp_of(1))
        made.recorder.trigger("front", "region")
        made.recorder.close()
        folder = made.finished()
        bag = Bag(folder)
        assert [ros_message(one) for one in bag.messages(IMAGE_TOPIC)] == [message]
        bag.close()
        sizes[compress] = (folder / f"{folder.name}.mcap").stat().st_size
    assert sizes[True] < sizes[False] / 10


def test_the_description_tells_what_triggered_and_what_is_inside(event_rig: MakeRig) -> None:
    made = event_rig()
    made.images(1, 3)
    for reason in ("region", "mask", "mask"):
        made.recorder.trigger("front", reason)
    made.image(4)
    made.clock.now += 5
    event = event_of(made.finished())
    assert event["detector"] == ABOUT
    assert event["triggers"] == {"region": 1, "mask": 2}
    assert (event["camera"], event["state"]) == ("front", "complete")
    assert event["messages"] == {IMAGE_TOPIC: 4} and event["messages_lost"] == 0
    assert (event["first_stamp"], event["last_stamp"]) == (stamp_of(1), stamp_of(4))


def test_each_camera_has_recordings_of_its_own(event_rig: MakeRig) -> None:
    made = event_rig()
    for number in (1, 2):
        made.image(number, "front")
        made.image(number, "/rear/left")
    made.recorder.trigger("/rear/left", "region")
    made.clock.now += 5
    folder = made.finished()
    assert folder.name.endswith("Z_rear_left")
    assert numbers_in(folder, "//rear/left/image_raw") == [1, 2]
    assert numbers_in(folder, IMAGE_TOPIC) == []


def test_the_commands_for_recordings_work_on_it(
    event_rig: MakeRig, tmp_path: Path, tiny: Path
) -> None:
    made = event_rig()
    for number in range(3):
        box = (40, 40, 100, 120) if number == 1 else ()
        message = image_message(road_picture(box=box), number)
        made.recorder.offer("front", IMAGE_TOPIC, message, stamp_of(number))
        mask = image_message(road_picture()[..., 0], number, "mono8")
        made.recorder.offer("front", MASK_TOPIC, mask, stamp_of(number))
    made.recorder.trigger("front", "region")
    made.recorder.close()
    out = tmp_path / "out"
    command = ["detect", str(made.finished()), "--topic", IMAGE_TOPIC, "--out", str(out)]
    assert anomaly_seg([*command, "--bundle", str(tiny), "--save", "mask"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["frames"], report["frames_with_anomaly"], report["warnings"]) == (3, 1, [])


# -- when it starts and ends -----------------------------------------------------------------------


def test_detections_prolong_a_recording_up_to_the_longest(event_rig: MakeRig) -> None:
    made = event_rig(longest=5, pause=100)
    made.images(1, 3)
    for number in range(4, 20):
        made.recorder.trigger("front", "region")
        made.image(number)
    assert numbers_in(made.finished()) == [1, 2, 3, 4, 5, 6, 7]  # 3 s before, less than 5 s after


def test_after_a_recording_detections_rest_and_hands_do_not(event_rig: MakeRig) -> None:
    made = event_rig(pause=10)
    made.image(1)
    assert made.recorder.trigger("front", "region")
    made.image(4)  # ends it, and rests until 14
    assert not made.recorder.trigger("front", "region")
    assert made.recorder.trigger("front", "by hand", by_hand=True)
    made.image(7)  # ends that, and rests until 17
    made.image(16)
    assert not made.recorder.trigger("front", "region")
    made.image(17)
    assert made.recorder.trigger("front", "region")
    made.clock.now += 5
    made.finished(3)


@pytest.mark.parametrize(
    ("fraction", "regions", "reason"),
    [(0.009, 0, None), (0.01, 0, "mask"), (None, 0, None), (None, 1, "region"), (1.0, 2, "region")],
)
def test_a_mask_or_a_region_is_a_detection(
    event_rig: MakeRig, fraction: float | None, regions: int, reason: str | None
) -> None:
    made = event_rig(min_fraction=0.01)
    made.image(1)
    made.recorder.found("front", fraction, regions)
    assert made.recorder.status()["recording"] == ("front" if reason else "waiting")
    if reason:
        made.clock.now += 5
        assert event_of(made.finished())["triggers"] == {reason: 1}


def test_without_a_least_fraction_no_mask_is_a_detection(event_rig: MakeRig) -> None:
    made = event_rig(min_fraction=0.0)
    made.image(1)
    made.recorder.found("front", 1.0, 0)
    assert made.recorder.status()["recording"] == "waiting"


def test_a_request_records_every_camera(event_rig: MakeRig) -> None:
    made = event_rig()
    assert made.recorder.request() == (
        False,
        "no image has come yet: there is nothing to record",
    )
    made.image(1, "front")
    made.image(1, "rear")
    done, text = made.recorder.request()
    assert done and text.startswith("recording front, rear, 3 s before and 2 s after now")
    made.clock.now += 5
    made.finished(2)


def test_the_only_camera_of_a_node_needs_no_name(event_rig: MakeRig) -> None:
    made = event_rig()
    made.recorder.offer("", IMAGE_TOPIC, image_message(picture(1), 1), stamp_of(1))
    done, text = made.recorder.request()
    assert done and text.startswith("recording camera, ")
    assert made.recorder.status()["recording"] == "camera"
    made.clock.now += 5
    assert made.finished().name.endswith("Z_camera")


def test_without_a_folder_nothing_is_kept(event_rig: MakeRig, tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    made = event_rig(None)
    assert set(threading.enumerate()) == threads
    made.image(1)
    made.recorder.latch("front", "/labels", String())
    made.recorder.found("front", 1.0, 3)
    assert not made.recorder.trigger("front", "region")
    done, text = made.recorder.request()
    assert not done and "record.folder" in text
    assert made.recorder.status() == {"recording": "off"} and not made.recorder.armed
    assert list(tmp_path.iterdir()) == []


# -- bounds of memory ------------------------------------------------------------------------------


def test_full_memory_shortens_the_seconds_before_and_says_so_once(event_rig: MakeRig) -> None:
    made = event_rig(before=100, memory=50_000)  # five images of 9 KB
    made.images(1, 20)
    made.recorder.trigger("front", "region")
    made.clock.now += 5
    assert numbers_in(made.finished()) == [16, 17, 18, 19, 20]
    made.images(40, 60)
    [text] = made.faults("record.memory")
    assert "record.memory of 0.05 MB holds only 5.0 s of the record.before of 100 s" in text


def test_a_disk_that_does_not_answer_loses_messages_and_holds_up_nobody(event_rig: MakeRig) -> None:
    answer = threading.Event()

    def describe() -> dict[str, Any]:  # called by the writing thread: it stands still here
        answer.wait(PATIENCE)
        return {}

    made = event_rig(describe=describe, memory=50_000, longest=60, after=60)
    made.images(1, 4)
    made.recorder.trigger("front", "region")
    made.images(5, 30)  # does not wait
    assert int(made.recorder.status()["recording: bytes in memory"]) <= 50_000
    answer.set()
    made.clock.now += 100
    folder = made.finished()
    written = numbers_in(folder)
    assert written[:5] == [1, 2, 3, 4, 5] and len(written) in (5, 6)  # one is out of the queue
    assert event_of(folder)["messages_lost"] == 30 - len(written)
    assert made.recorder.status()["recording: messages lost"] == str(30 - len(written))
    assert len(made.faults("messages of a recording of front were lost")) == 1


def test_closing_writes_what_is_queued(event_rig: MakeRig) -> None:
    made = event_rig()
    made.images(1, 3)
    made.recorder.trigger("front", "region")
    made.recorder.close()
    assert numbers_in(made.finished()) == [1, 2, 3]
    assert not made.recorder.trigger("front", "region")
    made.recorder.offer("front", IMAGE_TOPIC, image_message(picture(9), 9), stamp_of(9))


def test_closing_does_not_wait_for_a_dead_disk(
    event_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "END_PATIENCE", 0.05)
    answer = threading.Event()
    made = event_rig(describe=lambda: {"answered": answer.wait(PATIENCE)})
    made.image(1)
    made.recorder.trigger("front", "region")
    made.recorder.close(patience=0.05)
    assert len(made.faults("does not answer")) == 1
    answer.set()


# -- message types ---------------------------------------------------------------------------------


def test_types_of_installed_packages_are_learned(
    event_rig: MakeRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "prefix" / "share"
    (share / "demo_boxes" / "msg").mkdir(parents=True)
    (share / "demo_boxes" / "msg" / "Boxes.msg").write_text("std_msgs/Header header\nBox[] boxes\n")
    (share / "demo_boxes" / "msg" / "Box.msg").write_text("uint8 SMALL=1\nfloat64 width\n")
    index = share / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "demo_boxes").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'prefix'}:{sys.prefix}")
    made = event_rig()
    made.image(1)
    raw = RawMessage("demo_boxes/msg/Boxes", bytes(range(32)))
    made.recorder.offer("front", "/boxes", raw, stamp_of(1))
    made.recorder.trigger("front", "region")
    made.recorder.close()
    folder = made.finished()
    bag = Bag(folder)
    [message] = bag.messages("/boxes")
    bag.close()
    assert (message.message_type, bytes(message.raw)) == (raw.message_type, raw.cdr)
    stored = (folder / f"{folder.name}.mcap").read_bytes()
    assert b"MSG: demo_boxes/Box" in stored and b"float64 width" in stored
    assert made.told == []


def test_a_type_without_definition_is_told_and_the_rest_recorded(event_rig: MakeRig) -> None:
    made = event_rig()
    made.images(1, 2)
    for _ in range(2):
        raw = RawMessage("nowhere_msgs/msg/Thing", b"\0\1\0\0")
        made.recorder.offer("front", "/things", raw, stamp_of(2))
    made.recorder.trigger("front", "region")
    made.recorder.close()
    folder = made.finished()
    assert numbers_in(folder) == [1, 2]
    assert "nowhere_msgs" in event_of(folder)["not_recorded"]["/things"]
    assert {kind for kind, _ in made.told} == {"record: /things", "record: lost"}
