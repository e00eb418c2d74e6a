"""Frames of several cameras go through the engine together: the same bits, no shared harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from node_rig import Cameras, Rig, cameras_of, counts, image_message, road_picture, send, values_of
from sensor_msgs.msg import Image

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.imaging.encodings import message_to_map

MakeRig = Callable[..., Rig]
NAMES = ["front", "left", "rear"]
BOX = (40, 40, 100, 120)


def batches_of(rig: Rig) -> list[int]:
    """Records how many images the real detector is given at once."""
    sizes: list[int] = []
    detect = rig.node._engine.detector.detect

    def recording(images: list[np.ndarray], wanted: tuple[str, ...]) -> object:
        sizes.append(len(images))
        return detect(images, wanted=wanted)

    rig.node._engine.detector.detect = recording
    return sizes


def together(rig: Rig, cameras: Cameras, messages: Mapping[str, Image]) -> None:
    """Let the node receive a message of each camera before its worker can take any of them."""
    worker = rig.node._worker
    assert worker is not None
    with worker._mailbox._changed:
        for name, message in messages.items():
            cameras[name].publish(message)
        rig.spin_until(lambda: all(counts(rig, name).received for name in messages), "arrivals")


def test_a_batch_gives_the_same_bits_as_frames_alone(rig: MakeRig, tiny: Path) -> None:
    made = rig(cameras=NAMES, max_batch=3)
    cameras = cameras_of(made, NAMES)
    outputs = ("anomaly_mask", "anomaly_score", "segmentation")
    read = {(name, out): made.read(f"{name}/{out}") for name in NAMES for out in outputs}
    sizes = batches_of(made)
    chance = np.random.default_rng(5)
    pictures = {
        name: chance.integers(0, 256, (90 + 10 * i, 160 - 20 * i, 3), np.uint8)
        for i, name in enumerate(NAMES)
    }
    together(made, cameras, {name: image_message(pictures[name]) for name in NAMES})
    made.spin_until(lambda: all(read.values()), "all outputs")
    assert sizes == [3]
    with Detector(tiny) as detector:
        for name in NAMES:
            alone = detector.detect(pictures[name])[0]
            for out, expected in zip(outputs, (alone.mask, alone.score, alone.labels), strict=True):
                np.testing.assert_array_equal(message_to_map(read[name, out][0]), expected)


def test_a_batch_computes_what_any_of_its_cameras_wants_and_publishes_to_each_its_own(
    rig: MakeRig,
) -> None:
    made = rig(cameras=["front", "rear"], max_batch=2)
    cameras = cameras_of(made, ["front", "rear"])
    mask, labels = made.read("front/anomaly_mask"), made.read("rear/segmentation")
    asked: list[tuple[str, ...]] = []
    detect = made.node._engine.detector.detect

    def recording(images: list[np.ndarray], wanted: tuple[str, ...]) -> object:
        asked.append(wanted)
        return detect(images, wanted=wanted)

    made.node._engine.detector.detect = recording
    together(made, cameras, {name: image_message(road_picture()) for name in cameras})
    made.spin_until(lambda: mask and labels, "both outputs")
    assert [set(wanted) for wanted in asked] == [{"mask", "labels"}]
    assert made.fresh_diagnostics()["state"] == "active"
    assert "anomaly fraction" in values_of(made, "front")


def test_a_frame_waits_for_the_other_cameras_and_goes_without_them(rig: MakeRig) -> None:
    made = rig(cameras=["front", "rear"], max_batch=2, batch_wait=0.2)
    cameras = cameras_of(made, ["front", "rear"])
    masks = made.read("front/anomaly_mask")
    sizes = batches_of(made)
    for number in range(1, 3):
        send(made, cameras["front"], "front", road_picture(), number)
        made.spin_until(lambda: len(masks) == number, "mask")  # noqa: B023
    assert sizes == [1, 1]


def test_a_malformed_image_costs_the_others_of_its_batch_nothing(rig: MakeRig) -> None:
    made = rig(cameras=NAMES, max_batch=3)
    cameras = cameras_of(made, NAMES)
    masks = {name: made.read(f"{name}/anomaly_mask") for name in NAMES}
    sizes = batches_of(made)
    broken = image_message(road_picture())
    del broken.data[100:]
    good = image_message(road_picture(box=BOX))
    together(made, cameras, {"front": good, "left": broken, "rear": good})
    made.spin_until(lambda: masks["front"] and masks["rear"], "the masks of the others")
    assert sizes == [2]
    assert message_to_map(masks["front"][0])[70, 80] == 255
    assert counts(made, "left").dropped["malformed"] == 1 and not masks["left"]
    assert [counts(made, name).dropped["malformed"] for name in ("front", "rear")] == [0, 0]
    made.spin_until(lambda: made.logged("camera left: bad image, frame dropped"), "the report")
    made.fresh_diagnostics()
    assert any(key.startswith("bad input") for key in values_of(made, "left"))
    assert not any(key.startswith("bad input") for key in values_of(made, "front"))


def test_a_frame_that_the_detector_refuses_costs_only_itself(rig: MakeRig, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "region.png"), np.full((120, 160), 255, np.uint8))
    region = str(tmp_path / "region.png")
    made = rig(cameras=["front", "rear"], max_batch=2, region=region)
    cameras = cameras_of(made, ["front", "rear"])
    masks = {name: made.read(f"{name}/anomaly_mask") for name in cameras}
    sizes = batches_of(made)
    fits, other = image_message(road_picture()), image_message(road_picture(60, 80))
    together(made, cameras, {"front": other, "rear": fits})
    made.spin_until(lambda: masks["rear"], "the mask of the camera that fits")
    assert sizes == [2, 1, 1]
    assert counts(made, "front").dropped["failed"] == 1
    assert counts(made, "rear").dropped["failed"] == 0
    made.spin_until(lambda: made.logged("camera front: frame failed: the region is"), "report")


def test_an_engine_that_fails_is_counted_for_every_frame_of_the_batch(rig: MakeRig) -> None:
    made = rig(cameras=NAMES, max_batch=3)
    cameras = cameras_of(made, NAMES)
    masks = {name: made.read(f"{name}/anomaly_mask") for name in NAMES}
    detect = made.node._engine.detector.detect

    def lost(images: list[np.ndarray], wanted: tuple[str, ...]) -> object:
        raise RuntimeError("the device is lost")

    made.node._engine.detector.detect = lost
    together(made, cameras, {name: image_message(road_picture(), 1) for name in NAMES})
    made.spin_until(
        lambda: [counts(made, name).dropped["failed"] for name in NAMES] == [1, 1, 1],
        "three failures",
    )
    made.node._engine.detector.detect = detect
    for name, camera in cameras.items():
        send(made, camera, name, road_picture(), 2)
    made.spin_until(lambda: all(masks.values()), "masks after it")
    assert {found[0].header.frame_id for found in masks.values()} == {"camera_2"}
