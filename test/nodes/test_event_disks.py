"""Recordings on disks that are full, slow to come, gone or switched off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from event_rig import (
    IMAGE_TOPIC,
    PATIENCE,
    EventRig,
    event_of,
    numbers_in,
    stamp_of,
)
from node_rig import image_message

from anomaly_seg_ros.nodes.events.folder import EVENT_FILE, INCOMPLETE, event_name
from anomaly_seg_ros.replay.bag_reader import Bag

MakeRig = Callable[..., EventRig]


def test_the_oldest_recordings_make_room_and_foreign_folders_stay(
    event_rig: MakeRig, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    foreign = events / event_name(0.0, "front")  # looks like ours, and older
    foreign.mkdir(parents=True)
    (foreign / "holiday.jpg").write_bytes(bytes(100_000))
    old = events / "2020-01-01 drive"
    old.mkdir()
    made = event_rig(events, disk=1_000_000, pause=0, before=0)
    message = image_message(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8), 1)
    names = []
    for count in range(1, 6):  # 360 KB each: two fit
        made.recorder.offer("front", IMAGE_TOPIC, message, stamp_of(1))
        made.recorder.trigger("front", "region")
        made.clock.now += 2
        names.append(made.finished(count).name)
        made.clock.now += 1
    left = {entry.name for entry in events.iterdir()}
    assert {foreign.name, old.name} < left
    assert sorted(left - {foreign.name, old.name}) == sorted(names)[-3:]  # looked at beforehand
    assert made.recorder.status()["recordings deleted"] == "2"
    assert len(made.faults("the oldest recordings are deleted")) == 1


def test_a_recording_larger_than_the_limit_is_cut_off(event_rig: MakeRig) -> None:
    made = event_rig(disk=1_000_000, after=60)
    message = image_message(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8), 1)
    made.recorder.offer("front", IMAGE_TOPIC, message, stamp_of(1))
    made.recorder.trigger("front", "region")
    for _ in range(9):
        made.recorder.offer("front", IMAGE_TOPIC, message, stamp_of(1))
    made.until("recordings cut off", "1")
    [folder] = Path(made.recorder.settings.folder).iterdir()
    bag = Bag(folder)
    assert 1 <= len(list(bag.messages(IMAGE_TOPIC))) < 10
    bag.close()
    assert len(made.faults("is less than what is being recorded: raise it")) == 1


def test_recordings_of_the_same_second_have_names_of_their_own(
    event_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_772_366_400.0)
    folders = []
    for _ in range(2):
        made = event_rig()
        made.image(1)
        made.recorder.trigger("front", "region")
        made.recorder.close()
        folders.append(made.finished().name)
    assert folders == ["2026-03-01T12-00-00Z_front", "2026-03-01T12-00-00Z_front_2"]


def test_a_folder_that_cannot_be_made_is_told_and_tried_again(
    event_rig: MakeRig, tmp_path: Path
) -> None:
    obstacle = tmp_path / "disk"
    obstacle.write_text("a file where a folder should be")
    made = event_rig(obstacle, pause=0)
    made.image(1)
    made.recorder.trigger("front", "region")
    made.until("recording: messages lost", "1")
    assert made.faults(f"cannot record to {obstacle}: ")
    obstacle.unlink()
    obstacle.mkdir()
    made.clock.now += 5
    made.images(10, 11)
    made.recorder.trigger("front", "region")
    made.clock.now += 5
    assert numbers_in(made.finished()) == [10, 11]


def test_a_folder_that_vanishes_ends_the_recording_and_is_not_made_again(
    event_rig: MakeRig, tmp_path: Path
) -> None:
    made = event_rig(after=60, pause=0)
    events = tmp_path / "events"
    made.image(1)
    made.recorder.trigger("front", "region")
    deadline = time.monotonic() + PATIENCE
    while not list(events.glob(f".*.part/*/{EVENT_FILE}")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    away = events.rename(tmp_path / "unplugged")
    made.images(2, 3)
    made.until("recordings cut off", "1")
    assert not events.exists()
    assert len(made.faults(f"cannot record to {events}: No such file or directory")) >= 1
    away.rename(events)
    made.images(10, 11)  # late enough: image 3 may wait among the seconds before a detection
    made.recorder.trigger("front", "region")
    made.recorder.close()
    assert numbers_in(made.finished()) == [10, 11]


CHILD = """
import sys, time, resource
sys.path.insert(0, {tests!r})
from pathlib import Path
import event_rig as t
rig = t.EventRig(Path({folder!r}), after=3000, longest=3000, pause=0)
rig.recorder.latch("front", "/labels", t.String(data="labels"))
{body}
"""


def child(folder: Path, body: str) -> list[str]:
    """A command line that runs `body` with a Rig in a process of its own."""
    tests = str(Path(__file__).resolve().parent)
    return [sys.executable, "-c", CHILD.format(tests=tests, folder=str(folder), body=body)]


def child_environment() -> dict[str, str]:
    here = Path(__file__).resolve()
    paths = [str(here.parents[2]), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_a_killed_process_leaves_a_recording_that_can_be_read(
    event_rig: MakeRig, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    body = """
rig.images(1, 200)
rig.recorder.trigger("front", "region")
rig.images(201, 400)  # 9 KB each: chunks of 1 MiB
rig.until("recording: bytes in memory", "0")
print("written", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        child(events, body),
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        living = event_rig(events)  # a node beside it does not touch what is being written
        living.image(1)
        living.recorder.trigger("front", "region")
        living.recorder.close()
        assert living.told == [] and len(list(events.glob(".*.part"))) == 1
        process.send_signal(signal.SIGKILL)
    made = event_rig(events)
    made.image(1)
    made.recorder.trigger("front", "region")
    made.clock.now += 5
    made.finished()
    [folder] = events.glob(f"*{INCOMPLETE}")
    numbers = numbers_in(folder)
    assert numbers == list(range(197, 197 + len(numbers))) and len(numbers) > 100
    assert event_of(folder)["state"] == "incomplete"
    assert len(made.faults(f"kept as {folder}")) == 1
    assert not list(events.glob(".*"))


def test_a_full_disk_ends_the_recording_as_it_is(tmp_path: Path) -> None:
    """Stands for a full disk: a limit on the size of files, which fails in the middle of a write
    as a full disk does."""
    events = tmp_path / "events"
    body = """
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
rig.image(1)
rig.recorder.trigger("front", "region")
rig.images(2, 600)  # 5.6 MB
rig.until("recordings cut off", "1")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
rig.images(601, 603)
rig.recorder.trigger("front", "region")
rig.recorder.close()
rig.finished()
import json
print(json.dumps(rig.told))
"""
    done = subprocess.run(
        child(events, body), env=child_environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [kind for kind, _ in told] == ["record: File too large"]
    assert f"cannot record to {events}: File too large" in told[0][1]
    [cut] = events.glob(f"*{INCOMPLETE}")
    numbers = numbers_in(cut)
    assert numbers == list(range(1, 1 + len(numbers))) and len(numbers) > 200
    event = event_of(cut)
    assert (event["state"], event["fault"]) == ("incomplete", "File too large")
    assert event["first_stamp"] == stamp_of(1) and "messages" not in event
    [after] = [entry for entry in events.iterdir() if entry != cut]
    assert numbers_in(after)[-3:] == [601, 602, 603]


def test_a_missing_rosbags_is_one_error_when_recording_is_on(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["rosbags"] = sys.modules["rosbags.typesys"] = None
from pathlib import Path
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.nodes.events.recorder import EventRecorder
from anomaly_seg_ros.nodes.events.settings import RecorderSettings
EventRecorder(RecorderSettings(), dict, print).close()
try:
    EventRecorder(RecorderSettings(folder=Path(sys.argv[1])), dict, print)
except ReplayError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "events")]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "pip install rosbags" in done.stdout
    assert not (tmp_path / "events").exists()
