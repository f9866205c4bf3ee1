"""The measure of memory is held against real processes whose memory is known."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from roistream.errors import UserError
from roistream.memory.measure import CommandStartError, _tree_memory_mib, measure

# What a bare interpreter may take beside the block that a test fills, in MiB.
INTERPRETER_MIB = 20


def python(code, *arguments):
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *map(str, arguments)]


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_known_block():
    measurement = measure(python("import time; block = b'x' * (100 << 20); time.sleep(0.5)"))

    assert measurement.exit_status == 0
    assert 100 <= measurement.peak_pss_mib <= 100 + INTERPRETER_MIB
    assert 100 <= measurement.peak_rss_mib <= 100 + INTERPRETER_MIB


def test_samples_are_in_order_and_give_the_peaks():
    measurement = measure(python("import time; b = b'x' * (60 << 20); time.sleep(0.5); del b; time.sleep(0.5)"), 0.01)

    times_s = [sample.time_s for sample in measurement.samples]
    assert len(times_s) > 5
    assert times_s == sorted(set(times_s))
    assert times_s[0] >= 0
    assert times_s[-1] < measurement.wall_s
    assert measurement.wall_s >= 1.0
    assert measurement.samples[-1].pss_mib < 60 <= measurement.peak_pss_mib
    for name in ("pss_mib", "rss_mib", "shm_mib"):
        assert getattr(measurement, f"peak_{name}") == max(getattr(sample, name) for sample in measurement.samples)


def test_the_measuring_process_is_not_counted():
    ballast = b"x" * (150 << 20)

    measurement = measure(["sleep", "0.3"])

    assert len(ballast) == 150 << 20
    assert 0 < measurement.peak_pss_mib < 10
    assert 0 < measurement.peak_rss_mib < 10


def test_pages_shared_by_five_processes():
    measurement = measure(
        python("""
            import mmap, os, signal, time

            shared = mmap.mmap(-1, 100 << 20)
            for _ in range(100):
                shared.write(b"x" * (1 << 20))
            ready, tell = os.pipe()
            children = []
            for _ in range(4):
                child = os.fork()
                if child == 0:
                    sum(shared[::4096])
                    os.write(tell, b"x")
                    time.sleep(60)
                children.append(child)
            for _ in children:
                os.read(ready, 1)
            time.sleep(0.7)
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        """)
    )

    assert measurement.exit_status == 0
    assert 100 <= measurement.peak_pss_mib <= 100 + 2 * INTERPRETER_MIB
    assert 500 <= measurement.peak_rss_mib <= 500 + 5 * INTERPRETER_MIB


def test_siblings_of_a_zombie_are_counted():
    measurement = measure(
        python("""
            import os, signal, time

            ready, tell = os.pipe()
            if os.fork() == 0:
                os._exit(0)  # nobody waits for it: a zombie
            children = []
            for _ in range(2):
                child = os.fork()
                if child == 0:
                    block = b"x" * (60 << 20)
                    os.write(tell, b"x")
                    time.sleep(60)
                children.append(child)
            for _ in children:
                os.read(ready, 1)
            time.sleep(0.7)
            for child in children:
                os.kill(child, signal.SIGKILL)
        """)
    )

    assert 120 <= measurement.peak_pss_mib <= 120 + 3 * INTERPRETER_MIB
    assert 120 <= measurement.peak_rss_mib <= 120 + 3 * INTERPRETER_MIB


def test_a_process_that_has_just_ended_does_not_hide_the_others():
    holding = python("block = b'x' * (30 << 20); print('ready', flush=True); input()")
    started = [subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    tree = [psutil.Process(process.pid) for process in started]
    ended = tree[1]
    try:
        for process in started:
            process.stdout.readline()
        living = _tree_memory_mib(tree)
        ended.kill()
        while not has_ended(ended.pid):
            time.sleep(0.01)
        zombie, zombie_alone = _tree_memory_mib(tree), _tree_memory_mib([ended])
        started[1].wait()
        gone = _tree_memory_mib(tree)
    finally:
        for process in started:
            process.kill()
            process.communicate()

    assert all(90 <= mib <= 90 + 3 * INTERPRETER_MIB for mib in living)
    for memory in (zombie, gone):
        assert all(60 <= mib <= 60 + 2 * INTERPRETER_MIB for mib in memory)
    assert zombie_alone is None
    assert _tree_memory_mib(tree) is None


def test_a_forked_child_that_equals_its_parent_is_counted():
    measurement = measure(
        python("""
            import os, time

            for _ in range(2):
                os.fork()
            block = b"x" * (30 << 20)
            time.sleep(1)
        """)
    )

    assert 120 <= measurement.peak_pss_mib <= 120 + 4 * INTERPRETER_MIB


def test_a_child_between_vfork_and_exec_does_not_double_its_parent(tmp_path):
    # The child is held up there by a file that it has to open before exec: a pipe that gets its writer late.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    measurement = measure(
        python(
            """
            import os, subprocess, sys

            block = b"x" * (100 << 20)
            pipe = sys.argv[1]
            subprocess.Popen(["sh", "-c", 'sleep 0.7; : > "$0"', pipe])
            opened_first = [(os.POSIX_SPAWN_OPEN, 0, pipe, os.O_RDONLY, 0)]
            os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", ":"], {}, file_actions=opened_first), 0)
            os.wait()
            """,
            pipe,
        )
    )

    assert measurement.exit_status == 0
    assert len([sample for sample in measurement.samples if sample.pss_mib > 100]) > 2
    assert measurement.peak_pss_mib <= 100 + 2 * INTERPRETER_MIB
    assert measurement.peak_rss_mib <= 100 + 2 * INTERPRETER_MIB


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every process")
def test_a_process_that_may_not_be_read_is_told(caplog):
    measurement = measure(
        python("""
            import ctypes, os, time

            if os.fork() == 0:
                ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: as a program with a set-user-id bit
                block = b"x" * (60 << 20)
                time.sleep(0.5)
            else:
                os.wait()
        """)
    )

    assert 0 < measurement.peak_pss_mib < 60
    assert len([record for record in caplog.records if "is not counted" in record.getMessage()]) == 1


def test_growth_of_shared_memory_that_nobody_maps(tmp_path):
    holding = python(
        """
        import os, pathlib, sys, time

        file = pathlib.Path("/dev/shm", sys.argv[1])
        try:
            with file.open("wb") as stream:
                for _ in range(100):
                    stream.write(b"x" * (1 << 20))
            time.sleep(0.4)
        finally:
            file.unlink()
        """,
        f"roistream-test-{os.getpid()}",
    )

    # Others use /dev/shm at the same time: what they do once, they hardly do three times.
    measurements = []
    while len(measurements) < 3:
        measurements.append(measure(holding))
        if 100 <= measurements[-1].peak_shm_mib <= 130:
            break
    else:
        pytest.fail(f"growth of /dev/shm: {[measurement.peak_shm_mib for measurement in measurements]} MiB, not 100")

    assert measurements[-1].peak_pss_mib < INTERPRETER_MIB
    assert all(sample.shm_mib >= 0 for measurement in measurements for sample in measurement.samples)


def test_shrinking_shared_memory_is_no_growth():
    held = Path(f"/dev/shm/roistream-test-{os.getpid()}")
    held.write_bytes(b"x" * (100 << 20))
    try:
        measurement = measure(["sh", "-c", 'rm "$0"; sleep 0.3', str(held)])
    finally:
        held.unlink(missing_ok=True)

    assert measurement.exit_status == 0
    assert len(measurement.samples) > 1
    assert all(sample.shm_mib >= 0 for sample in measurement.samples)


def test_samples_survive_a_command_that_is_killed_half_way():
    measurement = measure(
        python("import os, time; block = b'x' * (80 << 20); time.sleep(0.5); os.kill(os.getpid(), 9)")
    )

    assert measurement.exit_status == 137
    assert 80 <= measurement.peak_pss_mib <= 80 + INTERPRETER_MIB


@pytest.mark.parametrize("lasting_s", [0.4, 0])  # The second is too short for its child to be seen beside it.
def test_what_a_killed_command_leaves_running_is_ended(tmp_path, lasting_s):
    told = tmp_path / "child"

    measurement = measure(
        python(
            """
            import os, sys, time

            child = os.fork()
            if child == 0:
                time.sleep(60)
            open(sys.argv[1], "w").write(str(child))
            time.sleep(float(sys.argv[2]))
            os.kill(os.getpid(), 9)
            """,
            told,
            lasting_s,
        )
    )

    assert measurement.exit_status == 137
    assert has_ended(int(told.read_text()))


def test_exit_status_is_passed_on():
    assert measure(["sh", "-c", "exit 3"]).exit_status == 3


@pytest.mark.parametrize("duration_s", ["0.05", "0.01"])
def test_a_short_command_has_a_sample(duration_s):
    # A crowded machine may let the measuring process wait for longer than the command lasts, but hardly three times.
    measurements = [measure(["sleep", duration_s]) for _ in range(3)]

    samples = [sample for measurement in measurements for sample in measurement.samples]
    assert len(samples) >= 1
    assert all(sample.pss_mib > 0 and sample.rss_mib > 0 for sample in samples)


def test_a_command_runs_once_however_short(tmp_path):
    runs = tmp_path / "runs"

    measurement = measure(["sh", "-c", 'echo run >> "$0"', str(runs)])

    assert runs.read_text() == "run\n"
    assert measurement.exit_status == 0


def test_a_command_that_is_not_there():
    with pytest.raises(CommandStartError, match="'no-such-command' was not found") as caught:
        measure(["no-such-command", "argument"])

    assert caught.value.exit_status == 127
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_command_that_is_no_program(tmp_path, mode):
    file = tmp_path / "file"
    file.write_text("no program\n")
    file.chmod(mode)

    with pytest.raises(CommandStartError, match="cannot be executed") as caught:
        measure([str(file)])

    assert caught.value.exit_status == 126
