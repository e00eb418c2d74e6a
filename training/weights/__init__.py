"""Published checkpoints: the file, the state_dict in it, and the network it belongs to."""

from training.weights.checkpoint import WeightsError, read_checkpoint
from training.weights.loading import build, names

__all__ = ["WeightsError", "build", "names", "read_checkpoint"]
