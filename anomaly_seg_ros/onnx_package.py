"""The optional package `onnx`: needed to build and judge graphs, not to run bundles."""

from __future__ import annotations

import importlib.util

from anomaly_seg_ros.errors import BundleError


def need_onnx(purpose: str) -> None:
    """Raise BundleError with the mend where the package is not installed.

    purpose: the command that needs it, as it is typed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise BundleError(
            f"`{purpose}` needs the Python package onnx, which running a bundle does not: "
            "pip install 'onnx>=1.17'"
        )
