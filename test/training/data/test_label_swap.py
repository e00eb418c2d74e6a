"""Labels swapped on purpose: how many, to what, and where it counts as an error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from training.data.label_swap import Swap, SwapRule, swap_labels
from training.data.labelled_frames import DatasetError

SHAPE = (12, 20)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def columns(values: list[int]) -> np.ndarray:
    """One value for each column, int32 [4, n]."""
    return np.tile(np.array(values, np.int32), (4, 1))


def labels_of(values: list[int]) -> np.ndarray:
    return columns(values).astype(np.uint8)


@given(
    labels=npst.arrays(np.uint8, SHAPE, elements=st.sampled_from((*range(7), 255))),
    objects=npst.arrays(np.int32, SHAPE, elements=st.integers(0, 9)),
    region=npst.arrays(bool, SHAPE),
    seed=st.integers(0, 1000),
    fraction=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_any_swap_keeps_the_rules(
    labels: np.ndarray, objects: np.ndarray, region: np.ndarray, seed: int, fraction: float
) -> None:
    before = labels.copy()
    swap = swap_labels(labels, objects, rng(seed), SwapRule(7, fraction), region=region)
    ids = set(np.unique(objects).tolist()) - {0}
    assert len(set(swap.objects)) == len(swap.objects) == int(fraction * len(ids))
    assert set(swap.objects) <= ids
    untouched = ~np.isin(objects, swap.objects)
    np.testing.assert_array_equal(swap.labels[untouched], labels[untouched])
    for drawn in swap.objects:
        mask = objects == drawn
        majority = np.bincount(labels[mask]).argmax()
        if majority == 255:
            np.testing.assert_array_equal(swap.labels[mask], labels[mask])
        else:
            [given_class] = np.unique(swap.labels[mask])
            assert given_class < 7 and given_class != majority
    np.testing.assert_array_equal(swap.errors, (swap.labels != labels) & region)
    np.testing.assert_array_equal(labels, before)


def test_every_other_class_is_as_likely() -> None:
    labels, objects = labels_of([3, 3]), columns([1, 2])
    generator = rng()
    drawn: Counter[int] = Counter()
    which: Counter[int] = Counter()
    for _ in range(1800):
        swap = swap_labels(labels, objects, generator)
        which.update(swap.objects)
        drawn.update(np.unique(swap.labels[swap.errors]).tolist())
    assert set(drawn) == set(range(19)) - {3}
    assert min(drawn.values()) > 60 and max(drawn.values()) < 145  # 100 each on average
    assert 800 < which[1] < 1000


def test_a_void_object_spends_its_draw() -> None:
    labels, objects = labels_of([255, 255, 13, 13]), columns([1, 1, 2, 2])
    swaps = [swap_labels(labels, objects, rng(seed)) for seed in range(40)]
    assert {len(swap.objects) for swap in swaps} == {1}
    for swap in swaps:
        assert swap.errors.any() == (swap.objects == (2,))
    assert {swap.objects for swap in swaps} == {(1,), (2,)}


def test_void_pixels_of_a_swapped_object_are_errors_too() -> None:
    swap = swap_labels(labels_of([13, 13, 255]), columns([1, 1, 1]), rng(), SwapRule(fraction=1.0))
    assert swap.errors.all()


def test_a_single_object_is_swapped_only_on_demand() -> None:
    labels, objects = labels_of([0, 13]), columns([0, 5])
    for seed in range(10):
        assert not swap_labels(labels, objects, rng(seed)).errors.any()
        swap = swap_labels(labels, objects, rng(seed), SwapRule(at_least_one=True))
        assert swap.objects == (5,) and swap.errors.any()


def test_no_objects_are_no_errors() -> None:
    nothing = columns([0, 0])
    swap = swap_labels(labels_of([0, 1]), nothing, rng(), SwapRule(at_least_one=True))
    assert swap.objects == () and not swap.errors.any()


def test_a_quarter_of_the_background_is_swapped_beside_the_objects() -> None:
    labels = labels_of([13, 13, 2, 8, 10, 1])
    objects, background = columns([1, 2, 0, 0, 0, 0]), columns([0, 0, 1, 2, 3, 4])
    alone = swap_labels(labels, objects, rng(3))
    both = swap_labels(labels, objects, rng(3), background=background)
    assert len(both.background) == 1 and alone.background == ()
    assert both.objects == alone.objects
    wrong = both.errors[0]
    np.testing.assert_array_equal(wrong[:2], alone.errors[0, :2])
    assert np.flatnonzero(wrong[2:]).tolist() == [both.background[0] - 1]


def test_the_same_seed_gives_the_same_swap() -> None:
    labels, objects = labels_of(list(range(12))), columns(list(range(12)))

    def drawn(seed: int) -> Swap:
        return swap_labels(labels, objects, rng(seed))

    np.testing.assert_array_equal(drawn(4).labels, drawn(4).labels)
    assert len({drawn(seed).labels.tobytes() for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": labels_of([0, 30])}, r"labels hold \[30\]; expected classes 0\.\.18 and 255"),
        ({"labels": columns([0, 1])}, r"labels are int32.*expected uint8"),
        ({"objects": columns([1])}, r"objects is int32 \[4, 1\]; expected integers \[4, 2\]"),
        ({"region": columns([1, 1])}, r"region is int32.*expected bool"),
        ({"background": columns([1, 1]).astype(float)}, r"background is float64"),
    ],
)
def test_maps_that_do_not_fit_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    maps = {"labels": labels_of([0, 13]), "objects": columns([0, 1])} | change
    with pytest.raises(DatasetError, match=message):
        swap_labels(rng=rng(), **maps)


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"fraction": 1.5}, {"background_fraction": -1}])
def test_a_rule_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DatasetError, match="expected"):
        SwapRule(**wrong)
