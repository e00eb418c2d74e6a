"""MODEL_CARD.md of a bundle made from a user's network: what is known of it, and what is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.creation.network import Network
from anomaly_seg_ros.graph_rules.view import type_name

CARD = "MODEL_CARD.md"
UNKNOWN = """## Unknown
Whoever passes this bundle on adds here: on what data the network was trained and under which
licences, what it is for and what not, and how well it finds unknown objects
(`anomaly-seg evaluate RECORDING --labels LABELS --bundle BUNDLE --out scores`).
"""


def may_be_written(card: Path) -> bool:
    """Whether there is no card yet, or one that nobody has added to."""
    return not card.exists() or card.read_text(encoding="utf-8").endswith(UNKNOWN)


def model_card(bundle: Bundle, network: Network) -> str:
    """The text of the card, in Markdown."""
    spec, point = bundle.input, bundle.operating_points["default"]
    (file,) = bundle.stages[0].files
    parity = ", ".join(f"{key} {value:g}" for key, value in file.parity.items())
    producer = f"{network.model.producer_name} {network.model.producer_version}".strip()
    return f"""# {bundle.name}

Made by `anomaly-seg bundle create` from a network that somebody else trained.

## Known
| what | |
|---|---|
| network | `{network.path.name}`, sha256 {network.sha256} |
| written by | {producer or "unknown"}, opset {network.opset} |
| size | {_size(network)} |
| input | {spec.height} x {spec.width} RGB, {spec.fit} |
| what the network gets | {network.preprocessing} |
| classes | {len(bundle.classes)}: {", ".join(entry.name for entry in bundle.classes)} |
| score | {bundle.method}: {bundle.paper} |
| threshold | {point.threshold:g} ({point.rule}; {point.data}) |
| parity with the network | {parity} |

{UNKNOWN}"""


def _size(network: Network) -> str:
    """Number of weights and how they are stored."""
    counts: Counter[str] = Counter()
    for tensor in network.model.graph.initializer:
        values = 1
        for dim in tensor.dims:
            values *= dim
        counts[type_name(tensor.data_type)] += values
    stored = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    return f"weights: {stored}" if stored else "no weights"
