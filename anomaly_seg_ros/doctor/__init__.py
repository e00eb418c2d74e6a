"""The doctor: what is installed here, what can run, what is wrong and the mend.

`surroundings` gathers what is there, each library in a process of its own; `libraries`, `engines`
and `ros` judge it, one small function for each question; `probes` is the table of them all.
Nothing here imports more than the standard library until it is known to be there.
"""

from anomaly_seg_ros.doctor.finding import FAIL, OFF, OK, WARN, Finding
from anomaly_seg_ros.doctor.page import page_json, page_lines
from anomaly_seg_ros.doctor.probes import PROBES, Probe, examine
from anomaly_seg_ros.doctor.surroundings import Surroundings, look_around

__all__ = [
    "FAIL",
    "OFF",
    "OK",
    "PROBES",
    "WARN",
    "Finding",
    "Probe",
    "Surroundings",
    "examine",
    "look_around",
    "page_json",
    "page_lines",
]
