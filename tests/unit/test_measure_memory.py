"""The program that measures any command, run as a user runs it."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "measure_memory.py"
PYTHON = [sys.executable, "-I", "-S", "-c"]
PEAKS = ["peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s"]


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "out" / "memory.tsv", tmp_path / "out" / "memory.json"


def program(outputs, command, *options):
    trace, summary = outputs
    return [sys.executable, str(PROGRAM), "--trace", str(trace), "--summary", str(summary), *options, "--", *command]


def run(outputs, command, *options, **kwargs):
    return subprocess.run(program(outputs, command, *options), capture_output=True, text=True, timeout=60, **kwargs)


def read_trace(outputs):
    header, *rows = outputs[0].read_text().splitlines()
    assert header == "time_s\tpss_mib\trss_mib\tshm_mib"
    assert all(re.fullmatch(r"\d+\.\d{3}(\t\d+\.\d{3}){3}", row) for row in rows)
    return [[float(number) for number in row.split("\t")] for row in rows]


def read_summary(outputs):
    return json.loads(outputs[1].read_text())


def files_of(outputs):
    return sorted(path.name for path in outputs[0].parent.glob("*"))


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# A tree of three: the command, a child, and a grandchild in a session of its own. Each writes its id to a file of the
# folder; on SIGTERM and SIGINT each adds the signal's number, takes a moment for its clean-up and ends. With the
# argument "stubborn" it goes on living.
TREE = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path

    folder, temper = Path(sys.argv[1]), sys.argv[2]
    generation = 0
    while generation < 2 and os.fork() == 0:
        generation += 1
    if generation == 2:
        os.setsid()
    received = folder / f"received-{generation}"

    def clean_up(number, frame):
        with received.open("a") as file:
            print(number, file=file)
        if temper != "stubborn":
            time.sleep(0.3)
            os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, clean_up)
    block = b"x" * (30 << 20)
    partial = folder / f"partial-{generation}"
    partial.write_text(str(os.getpid()))
    partial.rename(folder / f"pid-{generation}")
    while True:
        time.sleep(1)
""")


@pytest.fixture
def measured_tree(outputs, tmp_path):
    """Start the program on a tree of three processes: a function that gives the program and their ids."""
    started = []

    def start(temper="calm"):
        # The session makes a process group that a test can signal as a terminal does.
        command = [*PYTHON, TREE, str(tmp_path), temper]
        running = subprocess.Popen(program(outputs, command), stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(running)
        wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 3)
        time.sleep(0.2)  # for a sample of them
        return running, [int(path.read_text()) for path in tmp_path.glob("pid-*")]

    yield start
    for path in tmp_path.glob("pid-*"):
        if not has_ended(int(path.read_text())):
            os.kill(int(path.read_text()), signal.SIGKILL)
    for running in started:
        running.kill()
        running.communicate()


def signals_received(tmp_path):
    return {path.name: [int(line) for line in path.read_text().split()] for path in tmp_path.glob("received-*")}


def test_trace_and_summary_of_a_known_block(outputs):
    done = run(outputs, [*PYTHON, "import time; block = b'x' * (100 << 20); time.sleep(0.5)"])

    assert done.returncode == 0
    trace, summary = read_trace(outputs), read_summary(outputs)
    assert list(summary) == PEAKS
    assert 100 <= summary["peak_pss_mib"] <= 120
    assert summary["wall_s"] >= 0.5
    for column, name in enumerate(PEAKS[:3], start=1):
        assert summary[name] == max(row[column] for row in trace)
    assert all(number == round(number, 3) for number in summary.values())
    assert files_of(outputs) == ["memory.json", "memory.tsv"]
    assert re.fullmatch(
        r"INFO: Memory of the command: peak PSS 1\d\d\.\d MiB, RSS 1\d\d\.\d MiB, /dev/shm \d+\.\d MiB; \d+\.\d s\.\n",
        done.stderr,
    )


def test_streams_of_the_command_are_untouched(outputs):
    command = ["sh", "-c", "tr a-z A-Z; printf 'to stderr\\n' >&2"]

    done = run(outputs, command, input="from stdin, no line end")

    assert done.returncode == 0
    assert done.stdout == "FROM STDIN, NO LINE END"
    assert done.stderr.startswith("to stderr\nINFO: ")


def test_arguments_of_the_command_are_its_own(outputs):
    done = run(outputs, ["printf", "<%s>", "--trace", "--", "-x", "", "a b"])

    assert done.stdout == "<--trace><--><-x><><a b>"


def test_interval(outputs):
    run(outputs, ["sleep", "0.6"], "--interval", "0.2")

    times_s = [row[0] for row in read_trace(outputs)]
    assert 2 <= len(times_s) <= 4
    assert all(later - earlier >= 0.199 for earlier, later in itertools.pairwise(times_s))


def test_included_entries_come_first(outputs, tmp_path):
    facts = tmp_path / "facts.json"
    command = ["sh", "-c", """echo '{"strategy": "stream", "n_jobs": 6, "note": "µ"}' > "$0" """, str(facts)]

    done = run(outputs, command, "--include", str(facts))

    assert done.returncode == 0
    summary = read_summary(outputs)
    assert list(summary) == ["strategy", "n_jobs", "note", *PEAKS]
    assert (summary["strategy"], summary["n_jobs"], summary["note"]) == ("stream", 6, "µ")


@pytest.mark.parametrize(
    ("written", "complaint"),
    [(None, "does not exist"), ("[1, 2]", "must hold a JSON object"), ("{", "is not valid JSON")],
)
def test_included_entries_that_are_no_object(outputs, tmp_path, written, complaint):
    facts = tmp_path / "facts.json"
    if written is not None:
        facts.write_text(written)

    done = run(outputs, ["true"], "--include", str(facts))

    assert done.returncode == 1
    assert re.fullmatch(rf"ERROR: {re.escape(str(facts))}, .*{complaint}.*\n", done.stderr)
    assert files_of(outputs) == []


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$"])
def test_a_command_that_fails_leaves_nothing_that_should_include_its_facts(outputs, tmp_path, end):
    facts = tmp_path / "facts.json"
    facts.write_text("{}")

    done = run(outputs, ["sh", "-c", f"sleep 0.3; {end}"], "--include", str(facts))

    assert done.returncode in (3, 137)
    assert "peak PSS" in done.stderr
    assert files_of(outputs) == []


def test_a_command_that_fails_keeps_its_samples(outputs):
    done = run(outputs, ["sh", "-c", "sleep 0.3; exit 3"])

    assert done.returncode == 3
    assert len(read_trace(outputs)) >= 1
    summary = read_summary(outputs)
    assert list(summary) == [*PEAKS, "exit_status"]
    assert summary["exit_status"] == 3
    assert summary["peak_pss_mib"] > 0
    assert re.fullmatch(
        r"INFO: The command `sh -c 'sleep 0\.3; exit 3'` failed with exit status 3 after 0\.\d s, peak PSS .*\.\n",
        done.stderr,
    )


def test_a_command_that_is_killed_keeps_its_samples(outputs):
    code = "import os, time; block = b'x' * (80 << 20); time.sleep(0.5); os.kill(os.getpid(), 9)"

    done = run(outputs, [*PYTHON, code])

    assert done.returncode == 137
    summary = read_summary(outputs)
    assert summary["exit_status"] == 137
    assert 80 <= summary["peak_pss_mib"] <= 100
    assert max(row[1] for row in read_trace(outputs)) == summary["peak_pss_mib"]
    assert "was ended by SIGKILL (exit status 137)" in done.stderr
    assert "signal 9 usually is the out-of-memory killer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_too_short_for_a_look_has_no_made_up_peak(outputs):
    # It may or may not be seen: what matters is that nothing reads as a measured zero.
    for _ in range(3):
        done = run(outputs, ["true"])

        assert done.returncode == 0
        seen = len(read_trace(outputs)) > 0
        assert (read_summary(outputs)["peak_pss_mib"] is None) == (not seen)
        assert ("too short for a look" in done.stderr) == (not seen)


@pytest.mark.parametrize(("name", "status"), [("no-such-command", 127), ("file", 126)])
def test_a_command_that_cannot_be_started(outputs, tmp_path, name, status):
    (tmp_path / "file").write_text("no program\n")

    done = run(outputs, [str(tmp_path / name)])

    assert done.returncode == status
    assert re.fullmatch(r"ERROR: The command '.*' (was not found|cannot be executed).*\.\n", done.stderr)
    assert files_of(outputs) == []


@pytest.mark.parametrize(
    ("options", "command", "complaint"),
    [
        ([], [], "the command to measure is missing"),
        (["--interval", "0"], ["true"], "0 is not a positive number of seconds"),
        (["--interval", "soon"], ["true"], "soon is not a positive number of seconds"),
        (["stray"], ["true"], "unrecognized arguments: stray"),
    ],
)
def test_a_wrong_command_line(outputs, options, command, complaint):
    done = run(outputs, command, *options)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert not outputs[0].parent.exists()


def test_outputs_that_cannot_be_written_are_told_before_the_command_runs(tmp_path):
    (tmp_path / "file").touch()

    done = run((tmp_path / "trace.tsv", tmp_path / "file" / "summary.json"), ["touch", str(tmp_path / "has-run")])

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_exit_status_is_not_lost_where_sigchld_is_ignored(outputs):
    ignore = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )

    done = subprocess.run([*PYTHON, ignore, *program(outputs, ["sh", "-c", "sleep 0.2; exit 3"])], timeout=60)

    assert done.returncode == 3


def test_sigterm_ends_the_tree(outputs, tmp_path, measured_tree):
    running, pids = measured_tree()

    running.terminate()
    time.sleep(0.2)
    running.terminate()  # an impatient user
    _, stderr = running.communicate(timeout=30)

    assert running.returncode == 128 + signal.SIGTERM
    assert all(has_ended(pid) for pid in pids)
    assert signals_received(tmp_path) == {f"received-{n}": [signal.SIGTERM] for n in range(3)}
    assert "was ended by SIGTERM (exit status 143)" in stderr
    assert read_summary(outputs)["exit_status"] == 143
    assert max(row[1] for row in read_trace(outputs)) >= 90


def test_control_c_leaves_time_for_a_clean_up(outputs, tmp_path, measured_tree):
    running, pids = measured_tree()

    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=30)

    assert running.returncode == 128 + signal.SIGINT
    assert all(has_ended(pid) for pid in pids)
    # The terminal reaches the first two; they are not signalled again. The last has a session of its own.
    received = signals_received(tmp_path)
    assert received == {"received-0": [signal.SIGINT], "received-1": [signal.SIGINT], "received-2": [signal.SIGTERM]}
    assert "was ended by SIGINT (exit status 130)" in stderr
    assert read_summary(outputs)["exit_status"] == 130


def test_a_tree_that_ignores_sigterm_is_killed(outputs, tmp_path, measured_tree):
    running, pids = measured_tree("stubborn")

    running.terminate()
    running.communicate(timeout=30)

    assert running.returncode == 128 + signal.SIGTERM
    assert all(signal.SIGTERM in numbers for numbers in signals_received(tmp_path).values())
    wait_until(lambda: all(has_ended(pid) for pid in pids))
    assert read_summary(outputs)["exit_status"] == 143


def test_the_tree_does_not_outlive_a_killed_program(outputs, tmp_path, measured_tree):
    running, pids = measured_tree("stubborn")
    assert not any(has_ended(pid) for pid in pids)

    running.kill()
    running.communicate(timeout=30)

    wait_until(lambda: all(has_ended(pid) for pid in pids))
    assert not outputs[0].exists()
    assert not outputs[1].exists()


def test_nothing_of_the_program_stays_behind(outputs):
    with subprocess.Popen(program(outputs, ["sleep", "0.5"]), stderr=subprocess.DEVNULL) as running:
        helpers = set()
        while running.poll() is None:
            helpers.update(psutil.Process(running.pid).children(recursive=True))
            time.sleep(0.05)

    assert helpers
    wait_until(lambda: all(has_ended(process.pid) for process in helpers))


def test_being_stopped_and_continued_is_no_request_to_stop(outputs):
    """As by Ctrl-Z, or by a scheduler that suspends jobs."""
    with subprocess.Popen(
        program(outputs, ["sleep", "1.5"], "--interval", "0.1"), stderr=subprocess.DEVNULL
    ) as running:
        wait_until(psutil.Process(running.pid).children)
        for _ in range(3):
            time.sleep(0.15)
            running.send_signal(signal.SIGSTOP)
            time.sleep(0.15)
            running.send_signal(signal.SIGCONT)
    assert running.returncode == 0
    assert "exit_status" not in read_summary(outputs)
