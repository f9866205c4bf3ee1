"""SIGKILL at random moments, to every kind of process of every way to extract.

`ROISTREAM_TRIALS` says how many (one for each way), `ROISTREAM_SEED` which moments; the seed is printed, and with it each trial.
"""

import os
import re
import time

import numpy as np
import pytest

from faults.extractions import METHODS, assert_undisturbed, command_of, is_finished, results
from faults.kills import run_and_kill, seed_of

LOST_WORKER = re.compile(r"-+\nLokyProcess-\d+ failed with traceback:.*?Error: [^\n]*\n", re.DOTALL)
"""What joblib's workers say that were just starting when their parent was killed."""

TRIALS = int(os.environ.get("ROISTREAM_TRIALS", len(METHODS)))


def assert_trial(place, inputs, out, method, expected, rng, duration_s):
    """Kill somebody amid an extraction; see that nothing of it stays, and that the same command again ends well."""
    killed, moment_s, ended = run_and_kill(place, command_of(method, inputs, out), rng, duration_s)
    print(f"{method}: {killed or 'nobody'} after {moment_s:.2f} s, status {ended.status}", flush=True)
    assert "Traceback" not in LOST_WORKER.sub("", ended.output), ended.output
    assert place.wait_until_empty() == []
    assert place.left() == []
    for name, content in results(out).items():
        assert content == expected[name], name
    if ended.status:
        if is_finished(method, out):  # it came after the last result, and before the end of the program
            assert results(out) == expected
        elif killed == "worker" or (killed == "extraction" and method not in ("timeseries", "voxels")):
            assert ended.errors, "whoever is left tells what has happened"
    else:
        assert_undisturbed(method, out, expected)
    again = place.run(command_of(method, inputs, out))
    assert again.status == 0, again.output
    assert_undisturbed(method, out, expected)
    assert place.left() == []


def assert_trials(place, inputs, undisturbed, folder, methods, n_trials):
    rng = np.random.default_rng(seed_of())
    durations_s = {}
    for trial in range(n_trials):
        method = methods[trial % len(methods)]
        expected = undisturbed(method)
        if method not in durations_s:
            (folder / method).mkdir()
            begin = time.monotonic()
            assert place.run(command_of(method, inputs, folder / method)).status == 0
            durations_s[method] = time.monotonic() - begin
        out = folder / f"{trial}"
        out.mkdir()
        assert_trial(place, inputs, out, method, expected, rng, durations_s[method])


def test_a_few_moments(place, inputs, undisturbed, tmp_path):
    assert_trials(place, inputs, undisturbed, tmp_path, ["stream", "shared_memory", "voxels"], 3)


@pytest.mark.slow
def test_many_moments(place, inputs, undisturbed, tmp_path):
    assert_trials(place, inputs, undisturbed, tmp_path, METHODS, TRIALS)
