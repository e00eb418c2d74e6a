"""The contact sheet of `python -m anomaly_seg_ros.scenes`."""

import cv2
import pytest

from anomaly_seg_ros.scenes.__main__ import main


def test_a_sheet_has_a_row_for_each_seed(tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    given = ["--seed", "1", "5", "--frames", "3", "--size", "48", "64", "--labels"]
    assert main([*given, "--out", str(out)]) == 0
    assert cv2.imread(str(out)).shape == (96, 128, 3)
    assert str(out) in capsys.readouterr().out


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--seed 7 8 9" in capsys.readouterr().out
