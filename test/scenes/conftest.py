"""Small scenes: the layout does not depend on the picture's size, and small pictures are quick."""

import functools

import pytest

from anomaly_seg_ros.scenes import RoadSequence

SIZE = (120, 160)


@functools.cache
def small_sequence(seed: int, anomalies: bool = True) -> RoadSequence:
    return RoadSequence(seed, size=SIZE, anomalies=anomalies)


@pytest.fixture(scope="session")
def sequence_of():
    """Sequences by seed, made once: frames do not depend on what was asked for before."""
    return small_sequence
