"""The quick ones of nilearn's own tests of its maskers pass with our classes; `make test-nilearn` runs the others, too."""

import subprocess
import sys

import pytest

from conftest import ROOT


def test_ours_pass_what_nilearn_s_classes_pass():
    pytest.importorskip("numpydoc", reason="nilearn's tests need numpydoc")
    command = [sys.executable, ROOT / "tests" / "nilearn_own" / "run.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "0 fail with ours" in done.stdout
