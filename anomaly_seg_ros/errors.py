"""Errors a user can meet. Each message states what was found, what was expected and the mend."""


class AnomalySegError(Exception):
    """Base of all errors of this package: `except AnomalySegError` is enough for a caller."""


class BundleError(AnomalySegError):
    """A bundle folder that does not hold what it promises. Lists every fault, one per line."""


class BackendError(AnomalySegError):
    """A backend that cannot run, or a graph that does not match its bundle."""


class EncodingError(AnomalySegError):
    """Image data that does not match its encoding, size or step, or an encoding we do not know."""


class DetectorError(AnomalySegError):
    """A wrong call of the detector: image shape, region size, unknown operating point or output."""


class ReplayError(AnomalySegError):
    """An input that cannot be replayed, or a label that does not fit its frame."""


class MetricError(AnomalySegError):
    """Numbers that no metric can be computed from, or accumulators that do not fit together."""


class NodeError(AnomalySegError):
    """A node that does not start, answer or stay, or a ROS environment that is missing."""
