"""In which precision an engine really computes, read back from TensorRT's engine inspector.

An engine that is not what was asked for is an error: builders of others have written fp32 engines
under the name of fp16 without a word.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# TensorRT 10 says "Format/Datatype", 11 says "Format" and "DataType"; a format of 10 may name the
# type in a sentence ("Row major linear FP16 format"), so whole words are looked for.
TYPE_KEYS = ("format/datatype", "datatype", "format")  # the first that is there tells
WORDS = {
    "fp16": re.compile(r"\b(fp16|half|float16)\b", re.IGNORECASE),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE),
    "fp8": re.compile(r"\bfp8\b", re.IGNORECASE),
    "int8": re.compile(r"\bint8\b", re.IGNORECASE),
    "fp32": re.compile(r"\b(fp32|float|float32)\b", re.IGNORECASE),
}
LOW = ("fp16", "bf16", "fp8", "int8")
WANTED = {"fp16": "fp16", "int8": "int8"}  # asked precision -> the type that must be there


@dataclass(frozen=True)
class LayerTypes:
    """What the inspector tells: tensors between layers (and weights) by type."""

    layers: int
    opaque: int  # layers of which it tells no type
    tensors: Mapping[str, int]  # fp32, fp16, bf16, fp8, int8, other -> how many

    def as_json(self) -> dict[str, Any]:
        return {"layers": self.layers, "opaque": self.opaque, "tensors": dict(self.tensors)}

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(self.tensors.items()))
        return f"{self.layers} layers with {counted or 'no typed'} tensors"


def read_layers(text: str) -> LayerTypes:
    """Read the inspector's JSON, of TensorRT 10 or 11; text that cannot be read is all opaque."""
    try:
        content = json.loads(text)
    except ValueError:
        return LayerTypes(1, 1, {})
    layers = content.get("Layers", []) if isinstance(content, dict) else []
    if not isinstance(layers, list) or not layers:
        return LayerTypes(0, 1, {})
    counts: Counter[str] = Counter()
    opaque = 0
    for layer in layers:
        kinds = list(_types(layer)) if isinstance(layer, dict) else []
        opaque += not kinds
        counts.update(kinds)
    return LayerTypes(len(layers), opaque, dict(counts))


def precision_fault(found: LayerTypes, asked: str) -> str | None:
    """Why an engine is not what was asked for (fp32, fp32_strict, fp16, int8), or None.

    fp16 and int8 graphs keep parts in fp32, so some tensor of the type is enough; without any it is
    another engine, unless layers tell no type at all (`is_unsure`). fp32 graphs may hold constants
    stored in fp16, but most of their tensors are fp32.
    """
    kind = WANTED.get(asked)
    if kind is not None:
        if not found.tensors.get(kind) and not found.opaque:
            return f"asked for {asked}, the engine has {found}: none of {kind}"
        return None
    low = sum(found.tensors.get(name, 0) for name in LOW)
    if low > found.tensors.get("fp32", 0):
        return f"asked for {asked}, the engine has {found}: most of them lower than fp32"
    return None


def is_unsure(found: LayerTypes, asked: str) -> bool:
    """Whether the inspector tells too little to say that the precision is the one asked for."""
    return asked in WANTED and not found.tensors.get(WANTED[asked]) and found.opaque > 0


def _types(layer: Mapping[str, Any]) -> Iterable[str]:
    """Types of a layer's inputs, outputs and weights."""
    for side in ("Inputs", "Outputs"):
        for tensor in layer.get(side) or ():
            if isinstance(tensor, dict):
                said = {key.lower(): value for key, value in tensor.items()}
                told = [said[key] for key in TYPE_KEYS if isinstance(said.get(key), str)]
                yield from _named(told[0] if told else "")
    for value in layer.values():
        if isinstance(value, dict) and isinstance(value.get("Type"), str):  # weights
            yield from _named(value["Type"])


def _named(said: str) -> Iterable[str]:
    """The type that a text names; the first in WORDS where it names several, none of no text."""
    if said:
        yield next((kind for kind, word in WORDS.items() if word.search(said)), "other")
