"""The course of the learning rate."""

from __future__ import annotations

import pytest

from anomaly_seg_ros.errors import AnomalySegError
from training.fit import read_config
from training.methods.obsnet.optimisation import Optimisation


def test_the_released_course_drops_to_a_fifth_at_half_and_five_before_the_end() -> None:
    settings = read_config("obsnet_segnet_camvid")
    course = settings.optimisation
    shares = [course.share(epoch, settings.epochs) for epoch in range(settings.epochs)]
    assert settings.epochs == 51 and course.learning_rate == 0.2 and course.kind == "sgd"
    assert shares == pytest.approx([1.0] * 25 + [0.2] * 20 + [0.04] * 6)


def test_a_cosine_rises_in_the_warm_up_and_ends_at_zero() -> None:
    course = Optimisation(course="cosine", warmup=2.0)
    shares = [course.share(epoch / 4, 10) for epoch in range(41)]
    assert shares[0] < 0.01 and shares[8] == 1.0 and shares[-1] == pytest.approx(0.0)
    assert shares[:9] == sorted(shares[:9]) and shares[8:] == sorted(shares[8:], reverse=True)


def test_without_milestones_the_rate_stays() -> None:
    assert {Optimisation().share(epoch, 10) for epoch in range(10)} == {1.0}


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(AnomalySegError, match="'lion' with course 'steps'; expected one of sgd"):
        Optimisation(kind="lion")
