"""What every frame of a procedural drive promises."""

import numpy as np
import pytest

from anomaly_seg_ros.classes import CITYSCAPES, VOID
from anomaly_seg_ros.scenes import RoadSequence, SceneFrame

SEEDS = (1, 2, 5, 8)


def same(first: SceneFrame, second: SceneFrame) -> bool:
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.labels, second.labels)
        and np.array_equal(first.anomaly, second.anomaly)
    )


def test_the_same_seed_gives_the_same_bytes_in_any_order():
    straight = RoadSequence(8, size=(96, 128))
    jumping = RoadSequence(8, size=(96, 128))
    frames = {index: straight.frame(index) for index in (0, 1, 30, 1000)}
    for index in (1000, 30, 0, 1, 30):
        assert same(jumping.frame(index), frames[index]), index


def test_the_global_random_state_neither_matters_nor_changes():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = RoadSequence(2, size=(64, 80)).frame(3)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert same(first, RoadSequence(2, size=(64, 80)).frame(3))


def test_seeds_differ(sequence_of):
    first, second = (sequence_of(seed).frame(0).image.astype(int) for seed in (1, 2))
    assert np.abs(first - second).mean() > 10


def test_consecutive_frames_differ_in_more_than_noise_but_show_the_same_street(sequence_of):
    for seed in SEEDS:
        now, soon = (sequence_of(seed).frame(index) for index in (20, 21))
        assert not np.array_equal(now.image, soon.image)
        assert (now.labels == soon.labels).mean() > 0.85, seed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frame_has_the_shapes_types_and_ids_it_promises(sequence_of, seed):
    frame = sequence_of(seed).frame(15)
    assert frame.image.shape == (120, 160, 3) and frame.image.dtype == np.uint8
    assert frame.labels.shape == (120, 160) and frame.labels.dtype == np.uint8
    assert frame.anomaly.shape == (120, 160) and frame.anomaly.dtype == np.uint8
    assert set(np.unique(frame.labels)) <= {number for number, *_ in CITYSCAPES} | {VOID}
    assert set(np.unique(frame.anomaly)) <= {0, 1, VOID}
    assert frame.index == 15 and frame.seconds == pytest.approx(1.0)


def test_unknown_objects_are_void_in_the_labels_and_common(sequence_of):
    with_unknown = 0
    for seed in SEEDS:
        for index in (0, 25, 50):
            frame = sequence_of(seed).frame(index)
            assert (frame.labels[frame.anomaly != 0] == VOID).all()
            with_unknown += bool((frame.anomaly == 1).any())
    assert with_unknown >= 8  # of 12


def test_pieces_of_unknown_objects_below_twelve_pixels_are_void():
    sequence = RoadSequence(2, size=(48, 64))  # far objects are tiny in so small a picture
    found = [sequence.frame(index).anomaly for index in range(0, 120, 10)]
    assert any((anomaly == VOID).any() for anomaly in found)


def test_without_anomalies_there_are_none(sequence_of):
    for index in (0, 25, 50):
        frame = sequence_of(2, False).frame(index)
        assert not frame.anomaly.any()


def test_every_known_class_appears_over_some_seeds(sequence_of):
    missing = {number: name for number, name, _ in CITYSCAPES}
    for seed in range(1, 13):
        for index in (10, 60, 110):
            frame = sequence_of(seed).frame(index)
            for number in np.unique(frame.labels):
                missing.pop(int(number), None)
        if not missing:
            return
    pytest.fail(f"classes that no seed showed: {missing}")


def test_the_road_lies_before_the_camera(sequence_of):
    for seed in SEEDS:
        ahead = sequence_of(seed).frame(5).labels[-18:, 60:100]
        assert (ahead == 0).mean() > 0.6, seed


@pytest.mark.parametrize("size", [(33, 47), (128, 256), (192, 384), (151, 101)])
def test_other_sizes_work(size):
    frame = RoadSequence(5, size=size).frame(2)
    assert frame.image.shape == (*size, 3)
    assert frame.labels.shape == frame.anomaly.shape == size
    assert (frame.labels == 0).any()


@pytest.mark.parametrize("size", [(16, 640), (480, 0)])
def test_sizes_too_small_are_refused(size):
    with pytest.raises(ValueError, match="at least 32"):
        RoadSequence(1, size=size)


def test_a_frame_rate_of_zero_and_negative_frames_are_refused(sequence_of):
    with pytest.raises(ValueError, match="more than 0"):
        RoadSequence(1, frames_per_second=0)
    with pytest.raises(ValueError, match="0 or more"):
        sequence_of(1).frame(-1)


def test_a_lower_frame_rate_moves_farther_between_frames():
    slow, fast = (RoadSequence(5, (64, 80), frames_per_second=rate) for rate in (30.0, 10.0))
    assert same(fast.frame(0), slow.frame(0))
    assert fast.camera(10).z == pytest.approx(slow.camera(30).z)
