"""Road-anomaly segmentation for ROS 2: bundles, backends, detector, replay and nodes."""

__version__ = "0.1.0"
