"""Runs that are overwritten in place at a random moment while they are read, by another process, for every way to extract.

Results are those of the old content or of the new one, never of a mixture; or the run is said to have changed.
"""

import shutil
import time
from dataclasses import replace

import numpy as np

from conftest import save_run
from faults.conftest import by_method
from faults.extractions import GRID, N_VOLUMES, assert_undisturbed, command_of, is_finished, results
from faults.kills import seed_of


@by_method()
def test_a_run_that_is_saved_anew(place, inputs, undisturbed, tmp_path, method):
    rng = np.random.default_rng(seed_of())
    mine = replace(inputs, folder=tmp_path / "inputs")
    shutil.copytree(inputs.folder, mine.folder)
    run, out = mine.image_of(method), tmp_path / "out"
    other = save_run(tmp_path / f"other{''.join(run.suffixes)}", np.ones((*GRID, N_VOLUMES), np.float32))
    out.mkdir()
    process = place.start(command_of(method, mine, out))
    time.sleep(rng.uniform(0, 0.5))
    # As a copy over it does: the same file, which is short for a while, and has another content then.
    run.write_bytes(other.read_bytes())
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    assert place.wait_until_empty() == []
    assert place.left() == []
    found, expected = results(out), undisturbed(method)
    if process.returncode:
        assert not is_finished(method, out)
        assert [line for line in output.splitlines() if line.startswith("ERROR: ")], output
        assert all(found[name] == expected[name] for name in found if name != "scan_voxels.tsv")
    elif found != expected:
        again = tmp_path / "again"
        again.mkdir()
        assert place.run(command_of(method, mine, again)).status == 0
        assert found == results(again), "neither the old nor the new content"
    shutil.copytree(inputs.folder, mine.folder, dirs_exist_ok=True)
    assert place.run(command_of(method, mine, out)).status == 0
    assert_undisturbed(method, out, expected)
