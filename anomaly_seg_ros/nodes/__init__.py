"""The ROS 2 side: nodes, and the demo and bench that put a camera around them.

`detector_node` and `image_source_node` are the programs; everything that computes lives in
`anomaly_seg_ros.detector`. Nothing is imported here, since the package must load without ROS.
"""
