"""The machine is read from the kernel's files and from nvidia-smi, and nothing of it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_seg_ros.machine import Machine, nvidia_gpus, package_joules, this_machine


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def nvidia_smi(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """A stand-in for nvidia-smi in the path."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")


def test_clocks_governor_and_load_are_read(tmp_path: Path, no_gpu: None) -> None:
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\ncpu MHz\t\t: 999.9\n",
            "proc/loadavg": "1.25 0.9 0.8 2/300 1234\n",
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "800000\n",
            f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "2400000\n",
        },
    )
    machine = this_machine(tmp_path)
    assert machine.processor == "Some CPU @ 2 GHz" and machine.governor == "powersave"
    assert machine.megahertz == (800, 2400) and machine.load == 1.25 and machine.gpus == ()
    assert "governor powersave, 800 to 2400 MHz, load 1.2" in machine.lines()[0]


def test_a_board_is_called_by_its_own_name(tmp_path: Path, no_gpu: None) -> None:
    write(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson AGX Orin\0"})
    assert this_machine(tmp_path).processor == "NVIDIA Jetson AGX Orin"


def test_without_clock_files_the_cpus_own_word_counts(tmp_path: Path, no_gpu: None) -> None:
    write(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 1200.5\n\ncpu MHz\t\t: 1300.0\n"})
    assert this_machine(tmp_path).megahertz == (1200.5, 1300.0)


def test_a_machine_that_tells_nothing_is_unknown_and_no_error(tmp_path: Path, no_gpu: None) -> None:
    machine = this_machine(tmp_path)
    assert (machine.governor, machine.megahertz, machine.load) == ("", None, None)
    assert not machine.busy and machine.cores >= 1 and len(machine.lines()) == 1


@pytest.mark.parametrize(("load", "busy"), [(None, False), (1.0, False), (2.5, True)])
def test_a_machine_is_busy_when_others_use_more_than_half_of_it(
    load: float | None, busy: bool
) -> None:
    assert Machine("", 4, "", None, load, ()).busy is busy


def test_gpus_are_those_that_nvidia_smi_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvidia_smi(
        monkeypatch,
        tmp_path,
        "echo 'NVIDIA L4, 555.42.06, 31.5, 2040, 44'; echo 'Orin, 540.3, [N/A], [N/A], [N/A]'",
    )
    first, second = nvidia_gpus()
    assert (first.name, first.driver) == ("NVIDIA L4", "555.42.06")
    assert (first.watts, first.megahertz, first.celsius) == (31.5, 2040, 44)
    assert second.name == "Orin" and second.watts is None
    lines = Machine("cpu", 1, "", None, None, (first, second)).lines()
    assert lines[1:] == ["NVIDIA L4, driver 555.42.06, 32 W, 2040 MHz, 44 °C", "Orin, driver 540.3"]


@pytest.mark.parametrize("script", ["exit 9", "echo nonsense", "echo; echo 'a, b'"])
def test_an_nvidia_smi_that_fails_lists_no_gpu(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvidia_smi(monkeypatch, tmp_path, script)
    assert nvidia_gpus() == ()


def test_energy_is_the_sum_of_all_packages_in_joules(tmp_path: Path) -> None:
    base = "sys/class/powercap"
    write(
        tmp_path,
        {
            f"{base}/intel-rapl:0/energy_uj": "1500000\n",
            f"{base}/intel-rapl:1/energy_uj": "500000\n",
            f"{base}/intel-rapl:0:0/energy_uj": "7\n",  # a part of package 0
        },
    )
    assert package_joules(tmp_path) == 2.0
    (tmp_path / base / "intel-rapl:1" / "energy_uj").write_text("")  # not readable
    assert package_joules(tmp_path) is None
    assert package_joules(tmp_path / "elsewhere") is None
