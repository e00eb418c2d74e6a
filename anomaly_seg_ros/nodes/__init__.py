"""The ROS 2 side: nodes, and the demo, bench and replay that put a camera around them.

`detector_node`, `image_source_node` and `evaluator_node` are the programs; everything that computes
lives in `anomaly_seg_ros.detector`. Nothing is imported here: the package must load without ROS.
"""
