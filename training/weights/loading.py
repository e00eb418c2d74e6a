"""Build a published network and load its published weights, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from training.weights import image_resynthesis, obsnet
from training.weights.checkpoint import WeightsError, bare_state_dict, listed

METHODS: dict[str, dict[str, Callable[[Mapping[str, Tensor]], nn.Module]]] = {
    "obsnet": obsnet.NETWORKS,
    "image_resynthesis": image_resynthesis.NETWORKS,
}
COUNTER = "num_batches_tracked"  # older checkpoints lack it, and evaluation does not need it


def names() -> list[str]:
    """Every name that `build` knows, METHOD/NETWORK."""
    return [f"{method}/{name}" for method, table in METHODS.items() for name in table]


def build(name: str, state_dict: Mapping[str, Any]) -> nn.Module:
    """The network METHOD/NETWORK with the weights of `state_dict`, in evaluation mode.

    state_dict: by the published keys, bare or under `state_dict`, `model_state` or `weights`, with
    or without `module.` before each key. Counters of batch norm may be missing or too many; any
    other key that is missing, unexpected or of another shape raises WeightsError, which lists them.
    """
    method, _, short = name.partition("/")
    factory = METHODS.get(method, {}).get(short)
    if factory is None:
        raise WeightsError(f"unknown network {name!r}; expected one of {', '.join(names())}")
    found = bare_state_dict(state_dict)
    network = factory(found)
    expected = network.state_dict()
    faults = _faults(found, expected)
    if faults:
        raise WeightsError(f"these weights are not those of {name}:\n" + "\n".join(faults))
    network.load_state_dict({key: found.get(key, value) for key, value in expected.items()})
    return network.eval()


def _faults(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in expected if key not in found and not key.endswith(COUNTER)]
    unexpected = [key for key in found if key not in expected and not key.endswith(COUNTER)]
    mismatched = [
        f"{key} is {list(found[key].shape)} instead of {list(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
    return [f"  {len(keys)} {kind}: {listed(keys)}" for kind, keys in kinds.items() if keys]
