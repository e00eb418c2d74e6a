"""What can go wrong where a bundle is given another precision."""

from anomaly_seg_ros.errors import AnomalySegError


class PrecisionError(AnomalySegError):
    """A graph that cannot be converted, or a converted one that differs too much or is too slow."""
