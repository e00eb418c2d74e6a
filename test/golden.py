"""Golden vectors: numbers of the published code for given inputs, one folder per method."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

DEFAULT_ROOT = Path(__file__).resolve().parents[1].parent / "shared" / "parity"
ROOT = Path(os.environ.get("ANOMALY_SEG_PARITY") or DEFAULT_ROOT)


def vectors(method: str, prefix: str) -> Mapping[str, np.ndarray]:
    """The one file of a method whose name starts so; skips the test where there is no folder."""
    folder = ROOT / method / "vectors"
    if not folder.is_dir():
        pytest.skip("no golden vectors: set ANOMALY_SEG_PARITY to their root folder")
    [file] = sorted(folder.glob(prefix + "*.npz"))
    return np.load(file)
