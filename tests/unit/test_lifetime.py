"""Jobs end with the workflow that started them, and clear up: all in processes of their own."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from conftest import ROOT
from roistream.lifetime import STARTED_BY, numbering, this_process

JOB = """
    import os, sys, time
    from pathlib import Path
    from roistream.outputs import whole_file
    from roistream.reporting import reporting

    with reporting("job.log"), whole_file("result") as partial:
        partial.write_text("half")
        print("ready", flush=True)
        time.sleep(float(sys.argv[1]))
"""


def start_job(folder, started_by, seconds=600):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), STARTED_BY: started_by}
    command = [sys.executable, "-c", textwrap.dedent(JOB), str(seconds)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.fixture
def starter():
    """A process that a job may take for the one that started it."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def name_of(process):
    return f"{process.pid}:{numbering()}"


def test_a_job_ends_when_its_starter_dies(tmp_path, starter):
    with start_job(tmp_path, name_of(starter)) as job:
        assert job.stdout.readline() == "ready\n"
        assert job.poll() is None
        starter.kill()
        starter.wait()
        assert job.wait(60) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]
    assert "ERROR: The workflow that started this job has died." in (tmp_path / "job.log").read_text()


def test_a_starter_that_is_dead_already(tmp_path, starter):
    starter.kill()
    starter.wait()
    with start_job(tmp_path, name_of(starter)) as job:
        assert job.wait(60) == 128 + signal.SIGTERM
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize("started_by", ["", "nonsense", "999999999:1", "1:x"])
def test_a_job_that_nobody_has_to_wait_for(tmp_path, started_by):
    """Also where the number is that of a process in another container."""
    with start_job(tmp_path, started_by, seconds=0.1) as job:
        assert job.wait(60) == 0
    assert (tmp_path / "result").read_text() == "half"


def test_a_starter_that_lives_disturbs_nothing(tmp_path):
    with start_job(tmp_path, this_process(), seconds=0.2) as job:
        assert job.wait(60) == 0
    assert (tmp_path / "job.log").read_text() == ""


def test_sigterm_ends_a_job_that_clears_up(tmp_path):
    with start_job(tmp_path, "") as job:
        assert job.stdout.readline() == "ready\n"
        job.terminate()
        assert job.wait(60) == 128 + signal.SIGTERM
    assert (tmp_path / "job.log").read_text() == "ERROR: Ended by SIGTERM.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]


def test_what_is_measured_ends_with_the_starter(tmp_path, starter):
    """The measuring program has the signals of its own under lock; the watch must not take them from it."""
    code = "import time; print('ready', flush=True); time.sleep(600)"
    command = [sys.executable, ROOT / "scripts/measure_memory.py", "--trace", "t.tsv", "--summary", "s.json", "--"]
    environment = os.environ | {STARTED_BY: name_of(starter)}
    with subprocess.Popen(
        [*map(str, command), sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout.readline() == "ready\n"
        time.sleep(0.2)
        starter.kill()
        starter.wait()
        assert job.wait(60) == 128 + signal.SIGTERM
        assert job.stdout.read() == "", "whoever holds the other end lives"
