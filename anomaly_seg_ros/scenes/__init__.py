"""Procedural road scenes with labels and unknown objects: input for demo, tests and training.

`RoadSequence(seed).frame(i)` gives any frame of an endless drive, deterministic by seed.
"""

from anomaly_seg_ros.scenes.sequence import RoadSequence, SceneFrame

__all__ = ["RoadSequence", "SceneFrame"]
