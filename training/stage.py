"""A stage: a module with named inputs and outputs, exported as one graph of a bundle."""

from __future__ import annotations

from typing import ClassVar

from torch import nn


class Stage(nn.Module):
    """`forward` takes the `inputs` in order and returns the `outputs` in order."""

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
