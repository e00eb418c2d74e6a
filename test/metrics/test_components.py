"""Component metrics against sets of pixels, matched as the benchmark describes it."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import (
    ANOMALY_TRACK,
    OBSTACLE_TRACK,
    ComponentLimits,
    Components,
    ComponentScores,
    FrameResult,
    MaskComponents,
)

NO_LIMITS = ComponentLimits(0, 0)
SHAPE = (7, 9)
Region = set[tuple[int, int]]

masks = arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 1]), fill=st.just(0))
labels = arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 1, 255]), fill=st.just(0))
limits_of_few_pixels = st.builds(ComponentLimits, st.integers(0, 4), st.integers(0, 4))


def picture(*rows: str) -> np.ndarray:
    """uint8 [H, W]: 1 for #, 255 for ?, else 0."""
    return np.array([[{"#": 1, "?": 255}.get(c, 0) for c in row] for row in rows], np.uint8)


def filled(metric: Components, frames: list[tuple[np.ndarray, np.ndarray]]) -> Components:
    for mask, label in frames:
        metric.update(FrameResult(mask.astype(np.float32), label))
    return metric


def scores_of(
    mask: np.ndarray, label: np.ndarray, limits: ComponentLimits = NO_LIMITS
) -> ComponentScores:
    return filled(Components(0.5, limits), [(mask, label)]).compute()


def assert_same(found: Any, expected: Any) -> None:
    for entry in fields(expected):
        ours, theirs = getattr(found, entry.name), getattr(expected, entry.name)
        if entry.name == "components":
            assert_same(ours, theirs)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=entry.name)


# --- the definition, with sets ---------------------------------------------------------------


def regions_of(mask: np.ndarray) -> list[Region]:
    """Pixels connected through sides or corners, in the order of their first pixels."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        region, border = {start}, [start]
        while border:
            y, x = border.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            region |= near
            border.extend(near)
        regions.append(region)
    return regions


def siou(region: Region, own_kind: list[Region], other_kind: list[Region]) -> float:
    touched: Region = set().union(*(other for other in other_kind if other & region))
    on_others: Region = set().union(*(k for k in own_kind if k is not region)) & touched
    return len(region & touched) / (len(region | touched) - len(on_others))


def by_the_book(
    frames: list[tuple[np.ndarray, np.ndarray]], limits: ComponentLimits
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ("siou", "ppv", "predicted_siou")}
    found |= {"size": [], "predicted_size": []}
    for mask, label in frames:
        truth = regions_of(label == 1)
        predicted = [
            region
            for region in regions_of((mask != 0) & (label != 255))
            if len(region) >= limits.min_predicted
        ]
        void: Region = set().union(*(k for k in truth if len(k) < limits.min_truth))
        truth = [k for k in truth if len(k) >= limits.min_truth]
        predicted = [j - void for j in predicted if j - void]
        for k in truth:
            found["siou"].append(siou(k, truth, predicted))
            found["size"].append(len(k))
        for j in predicted:
            on_true: Region = set().union(*(k for k in truth if k & j))
            found["ppv"].append(len(j & on_true) / len(j))
            found["predicted_siou"].append(siou(j, predicted, truth))
            found["predicted_size"].append(len(j))
    return found


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(st.tuples(masks, labels), min_size=1, max_size=3), limits=limits_of_few_pixels
)
def test_the_scores_are_the_definition(
    frames: list[tuple[np.ndarray, np.ndarray]], limits: ComponentLimits
) -> None:
    expected = by_the_book(frames, limits)
    metric = filled(Components(0.5, limits), frames)
    if not expected["siou"]:
        with pytest.raises(MetricError, match="found none large enough"):
            metric.compute()
        return
    scores = metric.compute()
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(scores.components, name), values, err_msg=name)
    assert scores.siou == pytest.approx(np.mean(expected["siou"]))
    assert scores.ppv == pytest.approx(np.mean(expected["ppv"]) if expected["ppv"] else 0)
    for number, tau in enumerate(np.linspace(0.25, 0.75, 11)):
        tp = sum(value >= tau for value in expected["siou"])
        fn = sum(value < tau for value in expected["siou"])
        fp = sum(value < tau for value in expected["ppv"])
        assert (scores.tp[number], scores.fn[number], scores.fp[number]) == (tp, fn, fp)
        assert scores.f1_at[number] == pytest.approx(2 * tp / (2 * tp + fn + fp))
    assert scores.f1 == pytest.approx(scores.f1_at.mean())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 0.6))
def test_components_are_numbered_by_their_first_pixels(seed: int, share: float) -> None:
    """Of larger pictures too, where OpenCV may work in blocks or in parallel."""
    random = np.random.default_rng(seed)
    mask, label = (random.random((2, 40, 60)) < share).astype(np.uint8)
    label[0, 0] = 1
    expected = by_the_book([(mask, label)], NO_LIMITS)
    components = scores_of(mask, label).components
    np.testing.assert_array_equal(components.size, expected["size"])
    np.testing.assert_array_equal(components.predicted_size, expected["predicted_size"])


# --- by hand ---------------------------------------------------------------------------------


def test_a_prediction_over_two_objects_is_not_punished_for_the_other_one() -> None:
    label = picture("###..###", "........")
    mask = picture(".######.", "........")
    scores = scores_of(mask, label)
    np.testing.assert_allclose(scores.components.siou, [2 / 5, 2 / 5])  # not 2 / 7
    np.testing.assert_allclose(scores.components.ppv, [4 / 6])
    np.testing.assert_allclose(scores.components.predicted_siou, [4 / 8])
    assert scores.siou == pytest.approx(0.4)
    np.testing.assert_array_equal(scores.tp, [2] * 4 + [0] * 7)  # up to tau 0.40
    np.testing.assert_array_equal(scores.fp, [0] * 9 + [1] * 2)  # from tau 0.70 on
    assert scores.f1 == pytest.approx(4 / 11)


def test_several_predictions_on_one_object_add_up() -> None:
    label = picture(".######.")
    mask = picture("##..##..")
    scores = scores_of(mask, label)
    np.testing.assert_allclose(scores.components.siou, [3 / 7])
    np.testing.assert_allclose(scores.components.ppv, [1 / 2, 1])
    # What the other prediction found of the object is not held against either.
    np.testing.assert_allclose(scores.components.predicted_siou, [1 / 5, 2 / 5])


def test_void_is_no_part_of_a_prediction_and_parts_it() -> None:
    label = picture("#..??...")
    mask = picture("..######")
    components = scores_of(mask, label).components
    np.testing.assert_array_equal(components.predicted_size, [1, 3])
    np.testing.assert_array_equal(components.siou, [0])
    np.testing.assert_array_equal(components.ppv, [0, 0])


def test_a_prediction_smaller_than_the_limit_is_deleted_and_one_as_large_kept() -> None:
    label = picture("#####...", "........", "#####...")
    mask = picture(".##.....", "........", ".###....")
    components = scores_of(mask, label, ComponentLimits(3, 0)).components
    np.testing.assert_array_equal(components.siou, [0, 3 / 5])
    np.testing.assert_array_equal(components.predicted_size, [3])


def test_an_object_smaller_than_the_limit_is_void_and_one_as_large_counts() -> None:
    label = picture("##....", "......", "###...")
    mask = picture("####..", "......", "......")
    scores = scores_of(mask, label, ComponentLimits(4, 3))
    np.testing.assert_array_equal(scores.components.size, [3])
    # Large enough before the object's pixels go, which is when it is measured.
    np.testing.assert_array_equal(scores.components.predicted_size, [2])
    np.testing.assert_array_equal(scores.components.ppv, [0])


def test_a_prediction_on_nothing_but_a_small_object_disappears() -> None:
    label = picture("##....", "......", "###...")
    mask = picture("##....", "......", "###...")
    scores = scores_of(mask, label, ComponentLimits(0, 3))
    np.testing.assert_array_equal(scores.components.ppv, [1])
    assert (scores.siou, scores.ppv, scores.f1) == (1, 1, 1)


def test_without_predictions_all_figures_are_zero() -> None:
    scores = scores_of(picture("....."), picture("##..#"))
    assert (scores.siou, scores.ppv, scores.f1, scores.predicted_siou) == (0, 0, 0, 0)
    np.testing.assert_array_equal(scores.fn, [2] * 11)
    np.testing.assert_array_equal(scores.predicted_per_frame, [0])


def test_components_can_be_parted_by_frame_and_by_size() -> None:
    label = picture("##..#...", "##......", ".......#")
    frames = [(label, label), (picture("#......."), picture("........")), (label[::-1], label)]
    scores = filled(Components(0.5, NO_LIMITS), frames).compute()
    np.testing.assert_array_equal(scores.truth_per_frame, [3, 0, 3])
    np.testing.assert_array_equal(scores.predicted_per_frame, [3, 1, 3])
    np.testing.assert_array_equal(scores.components.size, [4, 1, 1, 4, 1, 1])
    of_large = scores.components.siou[scores.components.size >= 4]
    np.testing.assert_allclose(of_large, [1, 2 / 6])


def test_the_limits_of_the_benchmark() -> None:
    assert (ANOMALY_TRACK.min_predicted, ANOMALY_TRACK.min_truth) == (500, 100)
    assert (OBSTACLE_TRACK.min_predicted, OBSTACLE_TRACK.min_truth) == (50, 10)


# --- the threshold ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "threshold", "predicted"),
    [
        (0.5, 0.5, 0),  # not higher
        (0.7, 0.7, 0),  # 0.7 as float32 is 0.69999999
        (0.1, 0.1, 1),  # 0.1 as float32 is 0.10000000149
        (np.nextafter(np.float32(0.5), np.float32(1)), 0.5, 1),
        (3e38, 1e39, 0),
        (np.inf, 1e39, 1),
        (-np.inf, -1e39, 0),
        (-3e38, -1e39, 1),
    ],
)
def test_only_scores_above_the_threshold_are_predicted(
    score: float, threshold: float, predicted: int
) -> None:
    metric = Components(threshold, NO_LIMITS)
    metric.update(FrameResult(np.array([[score]], np.float32), picture("#")))
    np.testing.assert_array_equal(metric.compute().predicted_per_frame, [predicted])


def test_float16_rounds_before_the_threshold() -> None:
    frame = FrameResult(np.array([[0.50001]], np.float32), picture("#"))
    for half, found in ((False, 1), (True, 0)):
        metric = Components(0.5, NO_LIMITS, half=half)
        metric.update(frame)
        assert metric.compute().siou == found


def test_it_says_that_it_needs_a_threshold() -> None:
    assert Components.needs_threshold


# --- masks -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(mask=masks, label=labels.filter(lambda label: (label == 1).any()))
def test_ready_masks_have_no_limit_for_predictions(mask: np.ndarray, label: np.ndarray) -> None:
    metric = MaskComponents(min_truth=1)
    metric.update(mask * 255, label)
    assert_same(metric.compute(), scores_of(mask, label, ComponentLimits(0, 1)))


# --- workers ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(frames=st.lists(st.tuples(masks, labels), min_size=2, max_size=4), split=st.integers(0, 4))
def test_merged_workers_equal_a_single_pass(
    frames: list[tuple[np.ndarray, np.ndarray]], split: int
) -> None:
    frames = [*frames, (picture("##."), picture(".##"))]
    single = filled(Components(0.5, NO_LIMITS), frames).compute()
    merged = filled(Components(0.5, NO_LIMITS), frames[:split])
    other = filled(Components(0.5, NO_LIMITS), frames[split:])
    merged.merge(pickle.loads(pickle.dumps(other)))
    assert_same(merged.compute(), single)


def test_merged_masks_equal_a_single_pass() -> None:
    frames = [(picture("##."), picture(".##")), (picture("#.#"), picture("###"))]
    single, merged = MaskComponents(0), MaskComponents(0)
    for mask, label in frames:
        single.update(mask, label)
        worker = MaskComponents(0)
        worker.update(mask, label)
        merged.merge(worker)
    assert_same(merged.compute(), single.compute())


# --- wrong input -----------------------------------------------------------------------------


def test_frames_without_an_object_are_not_enough() -> None:
    metric = filled(Components(0.5, NO_LIMITS), [(picture("#."), picture("?."))])
    with pytest.raises(MetricError, match="found none large enough in 1 frames: check the labels"):
        metric.compute()
    with pytest.raises(MetricError, match="in 0 frames"):
        MaskComponents(10).compute()


def test_nan_where_it_counts_and_other_labels_are_refused() -> None:
    metric = Components(0.5, NO_LIMITS)
    score = np.full((1, 2), np.nan, np.float32)
    metric.update(FrameResult(score, picture("??")))
    with pytest.raises(MetricError, match="NaN at 1 pixels"):
        metric.update(FrameResult(score, picture("?#")))
    with pytest.raises(MetricError, match=r"values \[7\]"):
        metric.update(FrameResult(score, np.array([[7, 255]], np.uint8)))
    with pytest.raises(MetricError, match=r"values \[7\]"):
        MaskComponents(0).update(picture("##"), np.array([[7, 255]], np.uint8))
    assert len(metric.frames) == 1


def test_masks_of_another_kind_are_refused() -> None:
    with pytest.raises(MetricError, match=r"mask is bool \[1, 2\] and label uint8 \[1, 2\]"):
        MaskComponents(0).update(np.zeros((1, 2), bool), picture("##"))


def test_different_settings_do_not_merge() -> None:
    metric = Components(0.5, OBSTACLE_TRACK)
    for other in (
        Components(0.6, OBSTACLE_TRACK),
        Components(0.5, ANOMALY_TRACK),
        Components(0.5, OBSTACLE_TRACK, half=True),
    ):
        with pytest.raises(MetricError, match="cannot merge components with"):
            metric.merge(other)
    with pytest.raises(MetricError, match="cannot merge components with"):
        MaskComponents(10).merge(MaskComponents(100))


def test_odd_settings_are_refused() -> None:
    with pytest.raises(MetricError, match="expected 0 pixels or more"):
        ComponentLimits(-1, 0)
    with pytest.raises(MetricError, match="a threshold of nan"):
        Components(float("nan"), NO_LIMITS)
