"""Swapped labels and component instances against an example of the official code."""

from __future__ import annotations

import numpy as np
from golden import vectors

from training.data.instances import (
    SMALLEST_OBJECT,
    annotated_objects,
    components,
    object_classes,
)
from training.data.label_spaces import CITYSCAPES, VOID
from training.data.label_swap import swap_labels


def region_of(golden: object) -> np.ndarray:
    labels = golden["labels_trainid"]  # type: ignore[index]
    bits = np.unpackbits(golden["roi_packed"])  # type: ignore[index]
    return bits[: labels.size].reshape(labels.shape) > 0


def test_component_instances_agree_up_to_their_numbers() -> None:
    golden = vectors("image_resynthesis", "swap_example")
    labels, expected = golden["labels_trainid"], golden["cc_instances"]

    found = components(
        labels,
        object_classes(CITYSCAPES.names),
        smallest=SMALLEST_OBJECT,
        region=region_of(golden),
    )

    pairs = np.unique(np.stack((found.ravel(), expected.ravel())), axis=1)
    assert pairs.shape[1] == len(np.unique(found)) == len(np.unique(expected)) == 6
    assert set(np.unique(found)) == set(range(6)) and [0, 0] in pairs.T.tolist()


def test_the_candidates_and_the_number_drawn_are_those_of_the_release() -> None:
    golden = vectors("image_resynthesis", "swap_example")
    labels, objects = golden["labels_trainid"], annotated_objects(golden["instances"])
    ids = set(np.unique(objects).tolist()) - {0}
    changed = {i for i in ids if (golden["fake_labels_trainid"] != labels)[objects == i].any()}
    # The release's one draw obeys the same rule: at most half, all within the candidates.
    assert len(ids) == 10 and 0 < len(changed) <= 5
    assert not (golden["fake_labels_trainid"] != labels)[objects == 0].any()

    void = {i for i in ids if (labels[objects == i] == VOID).all()}
    swaps = [
        swap_labels(labels, objects, np.random.default_rng(seed), region=region_of(golden))
        for seed in range(30)
    ]

    assert {len(swap.objects) for swap in swaps} == {5}
    assert set().union(*(swap.objects for swap in swaps)) == ids and void
    for swap in swaps:
        differs = swap.labels != labels
        assert {i for i in ids if differs[objects == i].any()} == set(swap.objects) - void
        assert not differs[objects == 0].any()


def test_the_errors_of_the_release_follow_from_its_labels() -> None:
    golden = vectors("image_resynthesis", "swap_example")
    labels, swapped = golden["labels_trainid"], golden["fake_labels_trainid"]
    region = region_of(golden)
    np.testing.assert_array_equal((swapped != labels) & region, golden["errors"])

    swap = swap_labels(
        labels, annotated_objects(golden["instances"]), np.random.default_rng(0), region=region
    )

    np.testing.assert_array_equal(swap.errors, (swap.labels != labels) & region)
    assert swap.errors.any() and 0.891 < region.mean() < 0.893


def test_each_object_takes_one_class_that_it_was_not() -> None:
    golden = vectors("image_resynthesis", "swap_example")
    labels, objects = golden["labels_trainid"], annotated_objects(golden["instances"])

    swap = swap_labels(labels, objects, np.random.default_rng(1))

    for swapped in (swap.labels, golden["fake_labels_trainid"]):
        for i in np.unique(objects[swapped != labels]):
            [before], [after] = np.unique(labels[objects == i]), np.unique(swapped[objects == i])
            assert after < 19 and after != before
