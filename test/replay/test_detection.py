"""A recording becomes pictures, film and bag; a stopped run ends like one that was not stopped."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import make_recordings as made
import numpy as np
import pytest
from replay_results import everything, film, messages, pictures, run
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay import BadFrame, Frame, Source, open_source
from anomaly_seg_ros.replay.detection import remove_results, replay
from anomaly_seg_ros.replay.detection_run import IN_FLIGHT, RESULTS, DetectOptions
from anomaly_seg_ros.replay.manifest import MANIFEST_NAME
from anomaly_seg_ros.replay.writers import ScoreFormat, decode_score, encode_score, read_score

EVERYTHING = frozenset(RESULTS) - {"synthesis"}  # of a bundle that makes none


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", height=48, width=96)


@pytest.fixture(scope="module")
def detector(bundle: Path) -> Iterator[Detector]:
    with Detector(bundle, threads=1) as made_once:
        yield made_once


# --- results


def test_every_result_of_a_folder_of_images_is_written(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    out = tmp_path / "out"
    report = run(images, detector, out, save=EVERYTHING)
    names = ["road_0.png", "road_1.png", "road_2.png"]
    expected = detector.detect([made.picture(number) for number in range(3)])
    for folder in ("overlays", "masks", "labels"):
        assert sorted(pictures(out / folder)) == names
    for number, name in enumerate(names):
        found = expected[number]
        np.testing.assert_array_equal(pictures(out / "masks")[name], found.mask)
        np.testing.assert_array_equal(pictures(out / "labels")[name], found.labels)
        np.testing.assert_allclose(read_score(out / "scores" / name), found.score, atol=1e-5)
        assert pictures(out / "overlays")[name].shape == (made.HEIGHT, made.WIDTH, 3)
    assert report["frames"] == report["frames_with_anomaly"] == 3
    assert report["seconds"]["detect"]["p50"] > 0
    assert len(film(out / "overlay.mp4")) == 3
    assert not (out / "parts").exists()


def test_overlay_is_the_picture_with_the_anomaly_marked(tmp_path: Path, detector: Detector) -> None:
    run(made.write_folder(tmp_path / "images", 1), detector, tmp_path / "out")
    overlay = pictures(tmp_path / "out" / "overlays")["road_0.png"]
    changed = np.abs(overlay.astype(int) - made.picture(0)).max(axis=2)
    assert changed[made.BLOCK].mean() > 60
    assert changed[made.BLOCK].mean() > 2 * changed[40:, :20].mean()


def test_npz_scores_are_exact(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    options = {"save": frozenset({"score"}), "score": ScoreFormat("npz")}
    run(images, detector, tmp_path / "out", **options)
    found = detector.detect([made.picture(0)])[0]
    np.testing.assert_array_equal(read_score(tmp_path / "out/scores/road_0.npz"), found.score)


def test_score_codes_keep_range_gaps_and_count_what_they_clip() -> None:
    score = np.array([[-3.0, -2.0, 0.0, 2.0, 2.5, np.nan]], np.float32)
    codes, clipped = encode_score(score, ScoreFormat("png16", -2.0, 2.0))
    assert codes.tolist() == [[1, 1, 32768, 65535, 65535, 0]]
    assert clipped == 2
    back = decode_score(codes, -2.0, 2.0)
    np.testing.assert_allclose(back, [[-2, -2, 0, 2, 2, np.nan]], atol=4e-5)


def test_clipped_scores_are_a_warning(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    report = run(images, detector, tmp_path / "out", score=ScoreFormat("png16", 0.0, 0.5))
    assert any("clipped" in text for text in report["warnings"])


def test_film_has_the_rate_of_the_recording(tmp_path: Path, detector: Detector) -> None:
    video = made.write_film(tmp_path / "film.avi", 8, "MJPG", fps=12.5)
    run(video, detector, tmp_path / "a", save=frozenset({"video"}))
    run(video, detector, tmp_path / "b", save=frozenset({"video"}), every=2)
    run(video, detector, tmp_path / "c", save=frozenset({"video"}), fps=3.0)
    rates = []
    for name in "abc":
        with open_source(tmp_path / name / "overlay.mp4") as source:
            rates.append((source.describe().fps, len(list(source))))
    assert rates == [(12.5, 8), (6.25, 4), (3.0, 8)]


def test_frames_of_other_sizes_fit_into_the_film(tmp_path: Path, detector: Detector) -> None:
    made.write_image(tmp_path / "images" / "a.png", made.picture(0))
    made.write_image(tmp_path / "images" / "b.png", made.picture(1, 80, 70))
    made.write_image(tmp_path / "images" / "c.png", made.picture(1, 33, 65))
    run(tmp_path / "images", detector, tmp_path / "out", save=frozenset({"video"}))
    assert [image.shape for image in film(tmp_path / "out/overlay.mp4")] == [(48, 96, 3)] * 3


# --- result bag


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_result_bag_holds_the_messages_unchanged_and_results_of_the_same_header(
    tmp_path: Path, detector: Detector, storage: str
) -> None:
    sent = [made.compressed_message(i, made.picture(i), ".jpg") for i in range(3)]
    path = made.write_bag(tmp_path / "bag", {"/front/compressed": sent})
    run(path, detector, tmp_path / "out", save=frozenset({"bag"}), storage=storage)
    stored = messages(tmp_path / "out" / "result_bag")
    assert len(stored) == 12
    original = [data for topic, _, _, data in stored if topic == "/front/compressed"]
    assert original == [bytes(made.ROS2.serialize_cdr(m, made.COMPRESSED)) for m in sent]
    kinds = {
        "/detector/segmentation": ("mono8", "labels"),
        "/detector/anomaly_mask": ("mono8", "mask"),
        "/detector/anomaly_score": ("32FC1", "score"),
    }
    with open_source(path) as source:
        images = [frame.image for frame in source]
    found = detector.detect(images)
    for topic, (encoding, name) in kinds.items():
        of_topic = [(log, data) for entry, _, log, data in stored if entry == topic]
        assert [log for log, _ in of_topic] == [made.stamp_of(i) + 10**6 for i in range(3)]
        for number, (_, data) in enumerate(of_topic):
            message = made.ROS2.deserialize_cdr(data, made.IMAGE)
            assert message.header == sent[number].header
            assert message.encoding == encoding
            dtype = np.float32 if encoding == "32FC1" else np.uint8
            pixels = message.data.view(dtype).reshape(made.HEIGHT, made.WIDTH)
            np.testing.assert_array_equal(pixels, getattr(found[number], name))


def test_result_bag_of_images_holds_them_as_jpeg(tmp_path: Path, detector: Detector) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    run(images, detector, tmp_path / "out", save=frozenset({"bag"}))
    with open_source(tmp_path / "out/result_bag", topic="/camera/image_raw/compressed") as source:
        frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [10**8, 2 * 10**8]
    assert np.abs(frames[1].image.astype(int) - made.picture(1))[40:].max() < 6


def test_result_bag_can_be_replayed_again(tmp_path: Path, detector: Detector) -> None:
    path = made.image_bag(tmp_path / "bag")
    run(path, detector, tmp_path / "out", save=frozenset({"bag"}))
    with (
        open_source(tmp_path / "out/result_bag", topic="/detector/anomaly_mask") as source,
        pytest.raises(ReplayError, match="result topic"),
    ):
        replay(source, detector, tmp_path / "again", DetectOptions(save=frozenset({"bag"})))
    with open_source(tmp_path / "out/result_bag", topic=made.IMAGE_TOPIC) as source:
        assert replay(source, detector, tmp_path / "again", DetectOptions())["frames"] == 3


# --- choice of frames, and frames that fail


def test_every_and_limit_choose_frames(tmp_path: Path, detector: Detector) -> None:
    path = made.image_bag(tmp_path / "bag", 9)
    report = run(path, detector, tmp_path / "out", every=3, limit=2)
    assert sorted(pictures(tmp_path / "out/masks")) == ["000000.png", "000003.png"]
    assert report["frames"] == report["frames_promised"] == 2


def test_unreadable_frames_are_reported_and_the_rest_is_done(
    tmp_path: Path, detector: Detector
) -> None:
    images = made.write_folder(tmp_path / "images", 3)
    (images / "road_1.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    report = run(images, detector, tmp_path / "out")
    assert report["frames"] == 2
    assert [entry["name"] for entry in report["bad_frames"]] == ["road_1"]


def test_a_recording_without_one_good_frame_is_an_error(tmp_path: Path, detector: Detector) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"no picture")
    with pytest.raises(ReplayError, match=r"not one frame could be processed.*a\.png"):
        run(images, detector, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save": frozenset({"pictures"})}, "cannot save pictures"),
        ({"save": frozenset()}, "nothing to save"),
        ({"every": 0}, "1 or more"),
        ({"limit": 0}, "1 or more"),
        ({"score": ScoreFormat("png16", 1.0, 1.0)}, "low < high"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        DetectOptions(**options)


# --- resuming


class Stop(Exception):
    """Stands for Ctrl-C at a known frame."""


def stop_after(source: Source, frames: int) -> None:
    """Let the source fail after some frames."""
    read = source.frames

    def stopping(wanted: Callable[[int], bool]) -> Iterator[Frame | BadFrame]:
        for number, frame in enumerate(read(wanted)):
            if number == frames:
                raise Stop
            yield frame

    source.frames = stopping  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", ["bag", "video", "images"])
def test_a_stopped_run_resumes_to_the_result_of_an_uninterrupted_one(
    tmp_path: Path, detector: Detector, kind: str
) -> None:
    path = {
        "bag": lambda: made.image_bag(tmp_path / "bag", 7),
        "video": lambda: made.write_film(tmp_path / "film.avi", 7, "MJPG"),
        "images": lambda: made.write_folder(tmp_path / "images", 7),
    }[kind]()
    run(path, detector, tmp_path / "whole", save=EVERYTHING)
    options = DetectOptions(save=EVERYTHING)
    calls = 0
    for after in (2, 3):
        with open_source(path) as source, pytest.raises(Stop):
            stop_after(source, after)
            replay(source, detector, tmp_path / "out", options)
    with (tmp_path / "out" / MANIFEST_NAME).open("ab") as stream:
        stream.write(b'{"kind": "frame", "ind')  # killed in the middle of a line
    count = detector.detect

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return count(*args)

    detector.detect = counted  # type: ignore[method-assign]
    try:
        run(path, detector, tmp_path / "out", save=EVERYTHING)
        assert calls == 7 - 2 - 3  # nothing is done twice
        run(path, detector, tmp_path / "out", save=EVERYTHING)
        assert calls == 2  # and a finished run does nothing
    finally:
        del detector.detect  # type: ignore[method-assign]
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_results_that_were_lost_or_cut_are_made_again(tmp_path: Path, detector: Detector) -> None:
    path = made.image_bag(tmp_path / "bag", 4)
    run(path, detector, tmp_path / "whole", save=EVERYTHING)
    out = tmp_path / "out"
    run(path, detector, out, save=EVERYTHING)
    (out / "masks" / "000001.png").unlink()
    (out / "scores" / "000002.png").write_bytes(b"")
    (out / "overlay.mp4").unlink()
    run(path, detector, out, save=EVERYTHING)
    assert everything(out) == everything(tmp_path / "whole")


def test_more_frames_or_more_results_are_added_to_an_earlier_run(
    tmp_path: Path, detector: Detector
) -> None:
    path = made.image_bag(tmp_path / "bag", 5)
    run(path, detector, tmp_path / "whole", save=EVERYTHING)
    out = tmp_path / "out"
    run(path, detector, out, save=frozenset({"mask", "video"}), limit=2)
    run(path, detector, out, save=frozenset({"mask", "bag"}), limit=3)
    assert len(messages(out / "result_bag")) == 12
    run(path, detector, out, save=EVERYTHING)
    assert everything(out) == everything(tmp_path / "whole")


def test_a_recording_that_ends_early_is_not_searched_again(
    tmp_path: Path, detector: Detector
) -> None:
    path = made.write_film(tmp_path / "film.avi", 30, "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    save = frozenset({"video"})
    first = run(path, detector, tmp_path / "out", save=save)
    assert first["frames"] < first["frames_promised"] == 30
    assert any("of the 30 frames" in text for text in first["warnings"])
    modified = (tmp_path / "out" / "overlay.mp4").stat().st_mtime_ns
    again = run(path, detector, tmp_path / "out", save=save)
    assert again["frames"] == first["frames"]
    assert again["warnings"] == first["warnings"]
    assert (tmp_path / "out" / "overlay.mp4").stat().st_mtime_ns == modified


def test_a_recording_of_unknown_length_resumes_too(tmp_path: Path, detector: Detector) -> None:
    jpegs = [cv2.imencode(".jpg", made.picture(number))[1].tobytes() for number in range(5)]
    path = tmp_path / "stream.mjpeg"
    path.write_bytes(b"".join(jpegs))
    run(path, detector, tmp_path / "whole", save=EVERYTHING)
    out = tmp_path / "out"
    with open_source(path) as source, pytest.raises(Stop):
        stop_after(source, 3)
        replay(source, detector, out, DetectOptions(save=EVERYTHING))
    for _ in range(2):
        assert run(path, detector, out, save=EVERYTHING)["frames"] == 5
    assert everything(out) == everything(tmp_path / "whole")


def test_names_that_are_not_utf8_are_kept(tmp_path: Path, detector: Detector) -> None:
    images = tmp_path / "images"
    made.write_image(images / "a.png", made.picture(0))
    odd = images / os.fsdecode(b"road_\xff.png")
    (images / "a.png").rename(odd)
    run(images, detector, tmp_path / "out")
    assert (tmp_path / "out" / "masks" / odd.name).exists()
    assert run(images, detector, tmp_path / "out")["frames"] == 1


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path, detector: Detector) -> None:
    path = made.write_folder(tmp_path / "images", 1)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ReplayError, match="results cannot be written here"):
        run(path, detector, tmp_path / "out")


def test_results_of_other_settings_are_not_mixed(tmp_path: Path, bundle: Path) -> None:
    path = made.write_folder(tmp_path / "images", 2)
    out = tmp_path / "out"
    with Detector(bundle, threads=1) as detector:
        run(path, detector, out)
        with pytest.raises(ReplayError, match=r"every: 1 before, 2 now.*--overwrite"):
            run(path, detector, out, every=2)
        detector.threshold = 0.7
        with pytest.raises(ReplayError, match=r"threshold: 0\.5 before, 0\.7 now"):
            run(path, detector, out)
        made.write_image(path / "road_2.png", made.picture(2))
        with pytest.raises(ReplayError, match="input: "):
            run(path, detector, out)
        remove_results(out)
        assert run(path, detector, out)["frames"] == 3


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path, detector: Detector) -> None:
    path = made.write_folder(tmp_path / "images", 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(ReplayError, match="not empty"):
        run(path, detector, out)
    with pytest.raises(ReplayError, match="left alone"):
        remove_results(out)
    (out / "precious.txt").unlink()
    run(path, detector, out)
    (out / "precious.txt").write_text("mine")
    remove_results(out)
    assert [entry.name for entry in out.iterdir()] == ["precious.txt"]


def test_a_damaged_manifest_is_named(tmp_path: Path, detector: Detector) -> None:
    path = made.write_folder(tmp_path / "images", 1)
    run(path, detector, tmp_path / "out")
    manifest = tmp_path / "out" / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"kind": "frame"', '"kind": "flame"'))
    with pytest.raises(ReplayError, match=r"manifest\.jsonl, line 2"):
        run(path, detector, tmp_path / "out")


def test_two_runs_cannot_write_into_one_folder(tmp_path: Path, detector: Detector) -> None:
    path = made.write_folder(tmp_path / "images", 1)
    run(path, detector, tmp_path / "out")
    holder = (
        "import fcntl, sys, time\n"
        f"stream = open({str(tmp_path / 'out' / MANIFEST_NAME)!r}, 'ab')\n"
        "fcntl.flock(stream, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ReplayError, match="another run is writing"):
            run(path, detector, tmp_path / "out")
    finally:
        other.kill()
        other.wait()


def _replay_until_killed(path: Path, bundle: Path, out: Path) -> None:
    """Runs in a process of its own, which does not survive its 14th frame."""
    with Detector(bundle, threads=1) as detector, open_source(path) as source:
        detect, calls = detector.detect, itertools.count(1)

        def fatal(*args: Any) -> Any:
            if next(calls) == 14:
                os.kill(os.getpid(), signal.SIGKILL)
            return detect(*args)

        detector.detect = fatal  # type: ignore[method-assign]
        replay(source, detector, out, DetectOptions(save=EVERYTHING))


def test_a_killed_process_loses_nothing(tmp_path: Path, detector: Detector, bundle: Path) -> None:
    path = made.write_folder(tmp_path / "images", 25)
    out = tmp_path / "out"
    process = multiprocessing.get_context("spawn").Process(
        target=_replay_until_killed, args=(path, bundle, out)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    lines = (out / MANIFEST_NAME).read_text().splitlines()
    noted = [json.loads(line)["name"] for line in lines[1:]]
    assert 13 - IN_FLIGHT <= len(noted) <= 13
    before = {name: (out / "masks" / f"{name}.png").stat().st_mtime_ns for name in noted}
    run(path, detector, out, save=EVERYTHING)
    assert before == {name: (out / "masks" / f"{name}.png").stat().st_mtime_ns for name in noted}
    run(path, detector, tmp_path / "whole", save=EVERYTHING)
    assert everything(out) == everything(tmp_path / "whole")
