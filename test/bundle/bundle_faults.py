"""What a broken bundle says."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BundleError


def faults_of(folder: Path) -> str:
    """The message of the BundleError that opening the folder raises."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    return str(caught.value)
