"""Every kind of recording gives the frames that were put into it, and damage has a name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import make_recordings as made
import numpy as np
import pytest

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay import BadFrame, Frame, open_source
from anomaly_seg_ros.replay.bag_reader import typestore
from anomaly_seg_ros.replay.bags import BagSource
from anomaly_seg_ros.replay.sources import natural_key

SHARED = Path(os.environ.get("ANOMALY_SEG_SHARED") or Path(__file__).parents[3] / "shared")
REAL = SHARED / "data" / "bags"


def read(path: Path | str, **options: object) -> list[Frame | BadFrame]:
    with open_source(path, **options) as source:
        return list(source)


def good(frames: list[Frame | BadFrame]) -> list[Frame]:
    assert all(isinstance(frame, Frame) for frame in frames), frames
    return [frame for frame in frames if isinstance(frame, Frame)]


# --- images


def test_folder_is_read_in_natural_order_with_stems_as_names(tmp_path: Path) -> None:
    frames = good(read(made.write_folder(tmp_path, 11)))
    assert [frame.name for frame in frames] == [f"road_{number}" for number in range(11)]
    assert [frame.index for frame in frames] == list(range(11))
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, made.picture(number))
        assert frame.stamp_ns is None


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".ppm"])
def test_single_image_of_each_kind_is_a_source_of_one_frame(tmp_path: Path, suffix: str) -> None:
    (frame,) = good(read(made.write_image(tmp_path / f"one{suffix}", made.picture(4))))
    assert frame.image.shape == (made.HEIGHT, made.WIDTH, 3)
    assert np.abs(frame.image[40:].astype(int) - made.picture(4)[40:]).max() <= 8


def test_upper_case_suffixes_count_and_other_files_and_subfolders_do_not(tmp_path: Path) -> None:
    made.write_image(tmp_path / "A.PNG", made.picture(0))
    made.write_image(tmp_path / "sub" / "b.png", made.picture(1))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    assert [frame.name for frame in read(tmp_path)] == ["A"]


def test_images_of_one_stem_keep_their_suffix_so_that_results_do_not_collide(
    tmp_path: Path,
) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        made.write_image(tmp_path / name, made.picture(0))
    assert [frame.name for frame in read(tmp_path)] == ["a.jpg", "a.png", "b"]


def test_natural_order_sorts_numbers_by_value() -> None:
    names = ["f10", "f9", "f009", "F1", "g", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "F1", "f009", "f9", "f10", "g"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_damaged_images_are_bad_frames_with_a_reason_and_the_others_are_read(
    tmp_path: Path, suffix: str
) -> None:
    made.write_folder(tmp_path, 3, suffix)
    broken = tmp_path / f"road_1{suffix}"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    (tmp_path / f"road_3{suffix}").write_bytes(b"")
    frames = read(tmp_path)
    assert [type(frame) for frame in frames] == [Frame, BadFrame, Frame, BadFrame]
    assert all(broken.name in frame.reason for frame in frames[1:2])
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_frames_that_are_not_wanted_are_left_out_and_keep_their_index(tmp_path: Path) -> None:
    paths = [
        made.write_folder(tmp_path / "images", 6),
        made.write_film(tmp_path / "film.avi", 6, "MJPG"),
        made.image_bag(tmp_path / "bag", 6),
        "scenes:3:6",
    ]
    for path in paths:
        with open_source(path) as source:
            assert [frame.index for frame in source.frames(lambda i: i % 2 == 1)] == [1, 3, 5]


def test_identity_follows_the_content_not_the_place(tmp_path: Path) -> None:
    def identity(path: Path) -> str:
        with open_source(path) as source:
            return source.describe().identity

    first = identity(made.write_folder(tmp_path / "a", 3))
    assert identity(made.write_folder(tmp_path / "b", 3)) == first
    made.write_image(tmp_path / "b" / "road_1.png", made.picture(9))
    assert identity(tmp_path / "b") != first


# --- videos


@pytest.mark.parametrize(("name", "codec"), [("film.mp4", "mp4v"), ("film.avi", "MJPG")])
def test_video_gives_every_frame_stamped_by_its_rate(tmp_path: Path, name: str, codec: str) -> None:
    path = made.write_film(tmp_path / name, 9, codec)
    with open_source(path) as source:
        assert len(source) == 9
        frames = good(list(source))
        assert source.warnings == []
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(9)]
    assert [frame.stamp_ns for frame in frames] == [number * 80_000_000 for number in range(9)]
    for number, frame in enumerate(frames):
        assert abs(int(frame.image[40, 10, 0]) - int(made.picture(number)[40, 10, 0])) <= 6


def test_video_that_ends_early_says_how_many_frames_are_missing(tmp_path: Path) -> None:
    path = made.write_film(tmp_path / "film.avi", 30, "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source:
        read = sum(isinstance(frame, Frame) for frame in source)
        assert 0 < read < 30
        assert f"{read} of the 30 frames" in source.warnings[0]


# --- bags


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("sqlite3", ""),
        ("sqlite3", "message"),
        ("sqlite3", "file"),
        ("mcap", ""),
        ("mcap", "message"),
        ("mcap", "file"),
        ("mcap", "storage"),
    ],
)
def test_ros2_bag_gives_images_with_stamp_frame_id_and_topic(
    tmp_path: Path, storage: str, compression: str
) -> None:
    path = made.image_bag(tmp_path / "bag", storage=storage, compression=compression)
    frames = good(read(path))
    assert len(frames) == 3
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, made.picture(number))
        assert frame.stamp_ns == made.stamp_of(number)
        assert frame.log_ns == made.stamp_of(number) + 10**6
        assert (frame.frame_id, frame.topic) == (made.FRAME_ID, made.IMAGE_TOPIC)
        assert frame.name == f"{number:06d}"


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", ".db3"), ("mcap", ".mcap")])
@pytest.mark.parametrize("compression", ["", "message"])
def test_bare_storage_file_and_folder_without_metadata_are_read(
    tmp_path: Path, storage: str, suffix: str, compression: str
) -> None:
    folder = made.image_bag(tmp_path / "bag", storage=storage, compression=compression)
    assert len(good(read(folder / f"bag{suffix}"))) == 3
    (folder / "metadata.yaml").unlink()
    with open_source(folder) as source:
        assert len(good(list(source))) == 3
        assert "no metadata.yaml" in source.warnings[0]


@pytest.mark.parametrize("encoding", ["bgr8", "mono8"])
def test_raw_images_of_padded_rows_are_read(tmp_path: Path, encoding: str) -> None:
    gray = encoding == "mono8"
    pictures = [made.picture(i)[..., 0] if gray else made.picture(i) for i in range(2)]
    messages = [made.image_message(i, image, encoding) for i, image in enumerate(pictures)]
    frames = good(read(made.write_bag(tmp_path / "bag", {"/cam": messages})))
    for frame, image in zip(frames, pictures, strict=True):
        expected = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if gray else image
        np.testing.assert_array_equal(frame.image, expected)


def test_compressed_images_are_read(tmp_path: Path) -> None:
    messages = [made.compressed_message(i, made.picture(i)) for i in range(3)]
    frames = good(read(made.write_bag(tmp_path / "bag", {"/cam/compressed": messages})))
    np.testing.assert_array_equal(frames[2].image, made.picture(2))


def test_ros1_bag_is_read_and_its_message_becomes_a_ros2_one(tmp_path: Path) -> None:
    messages = [made.image_message(i, made.picture(i), "rgb8", made.ROS1) for i in range(3)]
    path = made.write_bag1(tmp_path / "old.bag", {made.IMAGE_TOPIC: messages})
    with BagSource(path, keep_messages=True) as source:
        frames = good(list(source))
    np.testing.assert_array_equal(frames[1].image, made.picture(1))
    assert frames[1].stamp_ns == made.stamp_of(1)
    assert frames[1].message is not None
    again = made.ROS2.deserialize_cdr(frames[1].message.cdr, made.IMAGE)
    assert again.header.frame_id == made.FRAME_ID
    np.testing.assert_array_equal(again.data, messages[1].data)


def test_stored_message_of_a_ros2_bag_is_kept_byte_for_byte(tmp_path: Path) -> None:
    message = made.compressed_message(0, made.picture(0), ".jpg")
    path = made.write_bag(tmp_path / "bag", {"/cam/compressed": [message]})
    with BagSource(path, keep_messages=True) as source:
        (frame,) = good(list(source))
    assert frame.message is not None
    assert frame.message.cdr == bytes(made.ROS2.serialize_cdr(message, made.COMPRESSED))


def test_zero_stamps_are_replaced_by_the_log_time(tmp_path: Path) -> None:
    message = made.image_message(0, made.picture(0), "rgb8")
    message.header.stamp = made.ROS2.types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    (frame,) = good(read(made.write_bag(tmp_path / "bag", {"/cam": [message]})))
    assert frame.stamp_ns == frame.log_ns == 10**6


def test_the_only_image_topic_is_taken_and_several_are_listed(tmp_path: Path) -> None:
    images = [made.image_message(0, made.picture(0), "rgb8")]
    path = made.write_bag(tmp_path / "bag", {"/left": images, "/right": images})
    with pytest.raises(ReplayError, match=r"--topic: /left .*; /right"):
        open_source(path)
    assert good(read(path, topic="/right"))[0].topic == "/right"
    assert good(read(path, topic="left"))[0].topic == "/left"
    assert good(read(path, not_topics=("/left",)))[0].topic == "/right"
    with pytest.raises(ReplayError, match=r"no image topic '/up'.*/left"):
        open_source(path, topic="/up")


def test_camera_info_beside_the_image_topic_is_found(tmp_path: Path) -> None:
    make = made.ROS2.types
    info = make["sensor_msgs/msg/CameraInfo"](
        header=made.header(0),
        height=48,
        width=96,
        distortion_model="plumb_bob",
        d=np.array([0.1, 0.2, 0, 0, 0]),
        k=np.arange(9.0),
        r=np.eye(3).ravel(),
        p=np.arange(12.0),
        binning_x=0,
        binning_y=0,
        roi=make["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )
    images = [made.compressed_message(0, made.picture(0))]
    topics = {"/front/image_raw/compressed": images, "/front/camera_info": [info]}
    # image transport: camera_info lies beside image_raw, not below it
    with open_source(made.write_bag(tmp_path / "bag", topics)) as source:
        camera = source.camera()
    assert camera is not None
    assert (camera.height, camera.width, camera.k[4]) == (48, 96, 4.0)
    with open_source(made.image_bag(tmp_path / "plain")) as source:
        assert source.camera() is None


def test_damaged_message_is_a_bad_frame_and_the_rest_is_read(tmp_path: Path) -> None:
    def cut(topic: str, number: int, data: bytes) -> bytes:
        return {1: data[:40], 2: b"", 3: data[:-500]}.get(number, data)

    path = made.image_bag(tmp_path / "bag", 5, edit=cut)
    frames = read(path)
    assert [type(frame) for frame in frames] == [Frame, BadFrame, BadFrame, BadFrame, Frame]
    assert "damaged" in frames[1].reason


def test_damage_in_the_middle_of_a_bag_ends_it_with_a_report(tmp_path: Path) -> None:
    path = made.image_bag(tmp_path / "bag", 200, storage="mcap", compression="storage")
    file = path / "bag.mcap"
    data = bytearray(file.read_bytes())
    chunk = data.rindex(b"\x28\xb5\x2f\xfd")  # the start of the last compressed chunk
    data[chunk : chunk + 64] = bytes(64)
    file.write_bytes(data)
    with open_source(path) as source:
        frames = list(source)
        assert isinstance(frames[-1], BadFrame)
        assert 0 < len(frames) < 201
        assert any("of the 200 messages" in text for text in source.warnings)


# --- what is no recording


def test_missing_empty_and_unknown_inputs_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty.mp4", "empty.mcap", "empty.db3", "empty.bag", "text.xyz"):
        (tmp_path / name).write_bytes(b"")
    cases = {
        "nowhere.mp4": "does not exist",
        "empty": "no image in this folder",
        "empty.mp4": "0 bytes",
        "empty.mcap": "0 bytes",
        "empty.db3": "0 bytes",
        "empty.bag": "0 bytes",
        "text.xyz": "no known kind",
    }
    for name, message in cases.items():
        with pytest.raises(ReplayError, match=message):
            open_source(tmp_path / name)


def test_bag_without_images_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    info = made.header(0)
    stamped = made.ROS2.types["geometry_msgs/msg/PointStamped"](
        header=info, point=made.ROS2.types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0)
    )
    made.write_bag(path, {"/point": [stamped]})
    with pytest.raises(ReplayError, match="no topic with images"):
        open_source(path)


def test_bags_without_rosbags_installed_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made.image_bag(tmp_path / "bag")
    for name in ("rosbags", "rosbags.rosbag2", "rosbags.typesys"):
        monkeypatch.setitem(sys.modules, name, None)
    typestore.cache_clear()
    with pytest.raises(ReplayError, match="pip install rosbags"):
        open_source(path)


def test_video_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    pictures = [cv2.imencode(".jpg", made.picture(number))[1].tobytes() for number in range(4)]
    (tmp_path / "stream.mjpeg").write_bytes(b"".join(pictures))
    with open_source(tmp_path / "stream.mjpeg") as source:
        assert len(source) == 0
        assert len(good(list(source))) == 4
        assert source.warnings == []


def test_topic_of_a_recording_without_topics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="has no topics"):
        open_source(made.write_folder(tmp_path, 1), topic="/cam")


@pytest.mark.parametrize("text", ["scenes:", "scenes:x", "scenes:1:0", "scenes:1:2:3"])
def test_misspelt_scenes_are_refused(text: str) -> None:
    with pytest.raises(ReplayError, match="scenes"):
        open_source(text)


def test_scenes_are_frames_of_the_seed(tmp_path: Path) -> None:
    first, again = good(read("scenes:5:2")), good(read("scenes:5:2"))
    np.testing.assert_array_equal(first[1].image, again[1].image)
    assert first[1].stamp_ns == pytest.approx(1e9 / 15, abs=1)


# --- damage everywhere


@pytest.mark.parametrize("kind", ["mcap", "mcap_zstd", "db3", "bag", "mp4", "avi"])
def test_files_cut_or_changed_anywhere_give_frames_or_one_replay_error(
    tmp_path: Path, kind: str
) -> None:
    whole = {
        "mcap": lambda: made.image_bag(tmp_path / "b", storage="mcap") / "b.mcap",
        "mcap_zstd": lambda: (
            made.image_bag(tmp_path / "b", storage="mcap", compression="storage") / "b.mcap"
        ),
        "db3": lambda: made.image_bag(tmp_path / "b") / "b.db3",
        "bag": lambda: made.write_bag1(
            tmp_path / "b.bag",
            {"/c": [made.image_message(i, made.picture(i), "rgb8", made.ROS1) for i in range(3)]},
        ),
        "mp4": lambda: made.write_film(tmp_path / "b.mp4", 9),
        "avi": lambda: made.write_film(tmp_path / "b.avi", 9, "MJPG"),
    }[kind]()
    data = whole.read_bytes()
    rng = np.random.default_rng(5)
    broken = tmp_path / f"broken{whole.suffix}"
    errors = 0
    for trial in range(40):
        changed = bytearray(data)
        if trial % 2:
            changed = changed[: int(rng.integers(0, len(data)))]
        else:
            # headers and indexes lie at both ends
            span = min(len(data), 3000)
            for _ in range(8):
                offset = int(rng.integers(0, span))
                at = offset if rng.random() < 0.5 else len(data) - 1 - offset
                changed[at] = int(rng.integers(0, 256))
        broken.write_bytes(changed)
        try:
            for frame in read(broken):
                assert isinstance(frame, BadFrame) or frame.image.dtype == np.uint8
        except ReplayError as error:
            errors += 1
            assert "broken" in str(error)
    assert errors > 0


# --- real recordings


@pytest.mark.skipif(not REAL.is_dir(), reason="ANOMALY_SEG_SHARED has no data/bags")
def test_every_real_bag_and_video_opens_and_gives_its_frames() -> None:
    paths = [*REAL.glob("*/metadata.yaml"), *REAL.glob("*/*.mcap"), *REAL.glob("*/*.db3")]
    paths = [path.parent if path.name == "metadata.yaml" else path for path in paths]
    paths += [*REAL.glob("videos/*.mp4")]
    assert paths
    for path in paths:
        with open_source(path) as source:
            assert len(source) > 0
            chosen = {0, len(source) // 2, len(source) - 1}
            frames = good(list(source.frames(chosen.__contains__)))
            assert {frame.index for frame in frames} == chosen, path
            assert all(frame.image.std() > 10 for frame in frames)
            assert source.warnings == []
