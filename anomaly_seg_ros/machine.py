"""What a measurement ran on: processor, clocks, governor, load, NVIDIA GPUs. Linux; else unknown.

Everything is read from files of the kernel and from `nvidia-smi`, where it is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
GPU_QUERY = ("name", "driver_version", "power.draw", "clocks.sm", "temperature.gpu")
GPU_SECONDS = 10.0  # nvidia-smi answers in one; a driver that hangs must not hang us
BUSY = 0.5  # load per core from which others are in the way


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU; None: the driver does not say."""

    name: str
    driver: str
    watts: float | None
    megahertz: float | None  # of its multiprocessors
    celsius: float | None


@dataclass(frozen=True)
class Machine:
    """A moment of this machine; empty or None: unknown."""

    processor: str
    cores: int  # that this process may use
    governor: str  # of the cores' clocks: performance, powersave, schedutil, ...
    megahertz: tuple[float, float] | None  # of the slowest and the fastest core now
    load: float | None  # processes that computed in the last minute
    gpus: tuple[Gpu, ...]

    @property
    def busy(self) -> bool:
        """Whether others computed here too: times are then longer than they need to be."""
        return self.load is not None and self.load > BUSY * self.cores

    def lines(self) -> list[str]:
        """For a terminal: the processor, then each GPU."""
        parts = [self.processor or "unknown processor", f"usable cores {self.cores}"]
        if self.governor:
            parts.append(f"governor {self.governor}")
        if self.megahertz:
            low, high = (f"{value:.0f}" for value in self.megahertz)
            parts.append(f"{low} MHz" if low == high else f"{low} to {high} MHz")
        if self.load is not None:
            parts.append(f"load {self.load:.1f}")
        return [", ".join(parts), *(_gpu_line(gpu) for gpu in self.gpus)]


def this_machine(root: Path = ROOT) -> Machine:
    """Look at the machine now. root: where /proc and /sys lie."""
    cpus = root / "sys" / "devices" / "system" / "cpu"
    return Machine(
        processor=_processor(root),
        cores=len(os.sched_getaffinity(0)),
        governor=_text(cpus / "cpu0" / "cpufreq" / "scaling_governor"),
        megahertz=_megahertz(root, cpus),
        load=_load(root),
        gpus=nvidia_gpus(),
    )


def nvidia_gpus() -> tuple[Gpu, ...]:
    """What nvidia-smi lists; nothing where it is missing, fails or hangs."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    query = [command, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=GPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return tuple(
        Gpu(row[0], row[1], *(_float(cell) for cell in row[2:]))
        for row in rows
        if len(row) == len(GPU_QUERY)
    )


def package_joules(root: Path = ROOT) -> float | None:
    """Energy that the processor packages have used since some moment; None: not readable here.

    Intel and AMD count it (RAPL); most kernels let only root read it. It wraps after hours.
    """
    counters = sorted((root / "sys" / "class" / "powercap").glob("intel-rapl:?/energy_uj"))
    values = [_float(_text(counter)) for counter in counters]
    known = [value for value in values if value is not None]
    return sum(known) / 1e6 if known and len(known) == len(values) else None


def _processor(root: Path) -> str:
    """The board's name on a Jetson or another device-tree machine, else the CPU's."""
    board = _text(root / "proc" / "device-tree" / "model")
    if board:
        return board
    match = re.search(
        r"^(?:model name|Model|Hardware)\s*:\s*(.+)$",
        _text(root / "proc" / "cpuinfo"),
        re.MULTILINE,
    )
    return match[1].strip() if match else platform.machine()


def _megahertz(root: Path, cpus: Path) -> tuple[float, float] | None:
    files = cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [value / 1e3 for value in map(_float, map(_text, files)) if value is not None]
    if not clocks:
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", _text(root / "proc" / "cpuinfo"), re.M)
        clocks = [float(value) for value in found]
    return (min(clocks), max(clocks)) if clocks else None


def _load(root: Path) -> float | None:
    return _float(_text(root / "proc" / "loadavg").partition(" ")[0])


def _gpu_line(gpu: Gpu) -> str:
    known = [(gpu.watts, "W"), (gpu.megahertz, "MHz"), (gpu.celsius, "°C")]
    parts = [f"{gpu.name}, driver {gpu.driver}"]
    return ", ".join(parts + [f"{value:.0f} {unit}" for value, unit in known if value is not None])


def _text(path: Path) -> str:
    """What a file of the kernel says; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
