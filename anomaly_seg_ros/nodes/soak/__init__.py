"""`anomaly-seg soak`: the detector node over thousands of images and through faults.

`soak` runs the parts, `table` prints them. Nothing is imported here: the package must load without
ROS.
"""
