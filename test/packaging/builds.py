"""Commands and sources that the packaging tests build from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a build reads; everything else (environments, data, results) stays out of the copy.
SOURCES = (
    *("anomaly_seg_ros", "config", "launch", "resource", "scripts"),
    *("LICENSE", "README.md", "CHANGELOG.md", "MANIFEST.in"),
    *("package.xml", "pyproject.toml", "setup.cfg", "setup.py"),
)


def run(command: list[str], cwd: Path, **variables: str) -> str:
    """Stdout of a command; fails the test with its output when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env={**environment, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
