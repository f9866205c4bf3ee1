"""What a program says when it fails, in processes of their own: on stderr, in its log, and by its exit status."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from conftest import ROOT

PROLOGUE = """
    import logging, os, sys, time, warnings
    from pathlib import Path
    from roistream.errors import UserError
    from roistream.reporting import reporting

    logger = logging.getLogger("roistream")
    log_file = sys.argv[1] if len(sys.argv) > 1 else None
"""


def command(code, *arguments):
    """Make a program of which `code` is the body."""
    program = textwrap.dedent(PROLOGUE) + textwrap.dedent(code)
    return [sys.executable, "-c", program, *map(str, arguments)]


def run(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    return subprocess.run(command(code, *arguments), capture_output=True, text=True, encoding="utf-8", env=environment)


def reported(raising, *arguments):
    """Run one statement inside `reporting`."""
    return run(f"with reporting(log_file):\n    {raising}", *arguments)


ONE_SENTENCE = {
    "raise UserError('größer.nii is 3D; give a run.')": "ERROR: größer.nii is 3D; give a run.",
    "open('absent.tsv')": "ERROR: [Errno 2] No such file or directory: 'absent.tsv'",
    "raise OSError('Expected 9 bytes\\n - could the file be damaged?')": (
        "ERROR: Expected 9 bytes - could the file be damaged?"
    ),
    "raise MemoryError": "ERROR: Not enough memory; use the strategy 'stream', fewer jobs, or a machine with more.",
    "raise MemoryError('Unable to allocate 9 GiB')": (
        "ERROR: Not enough memory (Unable to allocate 9 GiB); use the strategy 'stream', fewer jobs, or a machine with more."
    ),
    "raise OSError(12, 'Cannot allocate memory')": (
        "ERROR: Not enough memory; use the strategy 'stream', fewer jobs, or a machine with more."
    ),
}


@pytest.mark.parametrize(("raising", "sentence"), ONE_SENTENCE.items(), ids=range(len(ONE_SENTENCE)))
def test_mistakes_are_one_sentence_on_stderr_and_in_the_log(tmp_path, raising, sentence):
    log_file = tmp_path / "logs" / "below" / "job.log"
    process = reported(raising, log_file)
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr == sentence + "\n"
    assert log_file.read_text(encoding="utf-8") == sentence + "\n"
    assert reported(raising).stderr == process.stderr


def test_more_memory_than_there_is(tmp_path):
    process = reported("bytearray(2**62)", tmp_path / "job.log")
    assert process.returncode == 1
    assert process.stderr.startswith("ERROR: Not enough memory")
    assert process.stderr.count("\n") == 1


def test_a_killed_worker_is_not_called_a_defect(tmp_path):
    code = """
        import os
        from joblib import Parallel, delayed

        with reporting(log_file):
            Parallel(n_jobs=2)(delayed(os._exit)(9) for _ in range(2))
    """
    process = run(code, tmp_path / "job.log")
    assert process.returncode == 1
    assert "ERROR: A worker was killed" in process.stderr
    assert "defect" not in process.stderr
    assert "ERROR: A worker was killed" in (tmp_path / "job.log").read_text()


def test_a_defect_keeps_its_traceback(tmp_path):
    process = reported("{}['absent']", tmp_path / "job.log")
    assert process.returncode == 1
    first, *rest = process.stderr.splitlines()
    assert first.startswith("ERROR: This is a defect of roistream")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "KeyError: 'absent'"
    assert (tmp_path / "job.log").read_text() == process.stderr


@pytest.mark.parametrize("status", [0, 3])
def test_a_program_s_own_exit_passes_through(tmp_path, status):
    process = reported(f"sys.exit({status})", tmp_path / "job.log")
    assert process.returncode == status
    assert process.stderr == ""


def test_an_interrupt_ends_with_130(tmp_path):
    code = """
        with reporting(log_file):
            print("ready", flush=True)
            time.sleep(600)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    with subprocess.Popen(
        command(code, tmp_path / "job.log"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "ERROR: Interrupted.\n"
    assert (tmp_path / "job.log").read_text() == stderr


def test_logging_and_warnings_end_in_both_places(tmp_path):
    code = """
        with reporting(log_file):
            logger.info("12 volumes")
            logging.getLogger("another.library").warning("careful")
            logger.debug("not for users")
            warnings.warn("deprecated at last", DeprecationWarning)
            warnings.warn("values of doubt", UserWarning)
    """
    process = run("warnings.simplefilter('always')\n" + textwrap.dedent(code), tmp_path / "job.log")
    assert process.returncode == 0
    assert process.stderr.splitlines() == [
        "INFO: 12 volumes",
        "WARNING: careful",
        "WARNING: DeprecationWarning: deprecated at last",
        "WARNING: UserWarning: values of doubt",
    ]
    assert (tmp_path / "job.log").read_text() == process.stderr


def test_a_log_is_written_anew(tmp_path):
    (tmp_path / "job.log").write_text("of the run before\n")
    reported("logger.info('this run')", tmp_path / "job.log")
    assert (tmp_path / "job.log").read_text() == "INFO: this run\n"


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    for log_file in (tmp_path / "logs" / "job.log", tmp_path):
        process = reported("print('not reached')", log_file)
        assert process.returncode == 1
        assert process.stdout == ""
        assert process.stderr.startswith("ERROR: ")
        assert process.stderr.count("\n") == 1
        assert str(log_file) in process.stderr or str(log_file.parent) in process.stderr


@pytest.mark.parametrize("body", ["pass", "raise UserError('x')", "raise KeyError"])
def test_afterwards_everything_is_as_before(tmp_path, body):
    code = f"""
        before = warnings.showwarning, warnings.formatwarning
        try:
            with reporting(log_file):
                {body}
        except SystemExit:
            pass
        assert logging.getLogger().handlers == []
        assert (warnings.showwarning, warnings.formatwarning) == before
        logger.error("after the end")
        Path(log_file).unlink()
        print("as before")
    """
    process = run(code, tmp_path / "job.log")
    assert process.stdout == "as before\n"
    assert process.returncode == 0


def test_handlers_of_others_do_not_repeat_what_is_said(tmp_path):
    code = """
        logging.basicConfig()
        with reporting(log_file):
            logger.warning("once")
    """
    assert run(code, tmp_path / "job.log").stderr == "WARNING: once\n"


def test_two_programs_in_one_process_keep_their_logs_apart(tmp_path):
    code = """
        for name in ("one", "two"):
            with reporting(log_file + name):
                logger.info(name)
    """
    run(code, tmp_path / "log-")
    assert (tmp_path / "log-one").read_text() == "INFO: one\n"
    assert (tmp_path / "log-two").read_text() == "INFO: two\n"


def test_a_log_that_cannot_be_written_any_more(tmp_path):
    """As on a full disk: the sentence is on stderr all the same, once."""
    process = reported("raise UserError('größer.nii is 3D; give a run.')", "/dev/full")
    assert process.returncode == 1
    assert process.stderr == "ERROR: größer.nii is 3D; give a run.\n"
