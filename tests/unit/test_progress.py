"""Progress of a pass: a bar on a real terminal, sparse lines elsewhere."""

import os
import pty
import subprocess
import sys
import termios

import numpy as np
import pytest

from conftest import ROOT, save_run

PASS = """
import sys
from roistream.images import progress
from roistream.reporting import reporting
from roistream.images.image import inspect
from roistream.images.volumes import read_blocks

progress.SECONDS_BETWEEN_LINES = 0 if "often" in sys.argv else 30
with reporting():
    image = inspect(sys.argv[1])
    blocks = progress.progress(read_blocks(image, max_bytes=2000), image, "reading")
    print(sum(block.values.size for block in blocks))
"""


@pytest.fixture
def command(tmp_path, rng):
    """A pass over 12 volumes in 12 blocks."""
    run = save_run(tmp_path / "run.nii.gz", rng.standard_normal((6, 8, 10, 12)).astype(np.float32))
    return [sys.executable, "-c", PASS, str(run)]


def test_a_bar_on_a_terminal(command):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True)
    shown = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert process.stdout == b"5760\n"
    assert "reading:" in shown
    assert "/12" in shown
    assert "INFO" not in shown


def test_lines_now_and_then_in_a_log(command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    often = subprocess.run([*command, "often"], capture_output=True, text=True, env=environment, check=True)
    assert often.stdout == "5760\n"
    lines = often.stderr.splitlines()
    assert len(lines) == 12
    assert lines[2].startswith("INFO: reading: 3 of 12 volumes of ")
    seldom = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert seldom.stderr == ""
