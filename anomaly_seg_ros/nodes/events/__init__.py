"""Recordings of detections: the seconds before and after, as a bag.

The node talks to `recorder` and `settings`. Nothing is imported here: the package must load without
ROS.
"""
