"""The quick ones of nilearn's own tests of its maskers pass with our classes; `make test-nilearn` runs the others, too."""

import subprocess
import sys

import nilearn
import pytest

from conftest import ROOT


def test_ours_pass_what_nilearn_s_classes_pass():
    pytest.importorskip("numpydoc", reason="nilearn's tests need numpydoc")
    if not (ROOT / "tests" / "nilearn_own" / f"nilearn-{nilearn.__version__}.json").exists():
        pytest.skip("which ones are slow is not recorded for this nilearn: tests/nilearn_own/run.py --record")
    command = [sys.executable, ROOT / "tests" / "nilearn_own" / "run.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "\n0 end in another way" in done.stdout
