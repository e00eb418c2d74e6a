"""`python -m training import-weights`: published checkpoints become a bundle."""

from __future__ import annotations

from typing import Any

from training.methods.image_resynthesis import import_command as image_resynthesis
from training.methods.obsnet import import_command as obsnet


def add_parser(subparsers: Any) -> None:
    """Add the verb `import-weights` with its methods."""
    parser = subparsers.add_parser("import-weights", help="published checkpoints become a bundle")
    methods = parser.add_subparsers(title="methods", metavar="METHOD", required=True)
    for method in (obsnet, image_resynthesis):
        method.add_parser(methods)
