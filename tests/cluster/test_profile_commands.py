"""Every command of workflow/profiles/README.md, in order, in a copy of the project: both profiles do both targets."""

import re
import shutil

import pytest

from cluster.conftest import PROFILES, QUICK, assert_same_results, local_copy, save_study, submissions
from workflow.conftest import copy_project, snakemake
from workflow.test_readme_commands import CHECKOUT, run_command

pytestmark = pytest.mark.slow

COMMANDS = re.findall(r"^```sh\n(.*?)^```$", (PROFILES / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(slurm, tmp_path_factory):
    """Copy the project, with a study in it and profiles that are edited for this cluster."""
    folder = copy_project(tmp_path_factory.mktemp("profiles") / "roistream")
    study = save_study(tmp_path_factory.mktemp("profiles") / "study", 2, strategies=("stream", "mmap"))
    shutil.copytree(study, folder, dirs_exist_ok=True)
    for profile, options in QUICK.items():
        path = folder / "workflow/profiles" / profile / "config.yaml"
        text = path.read_text("utf-8")
        words = re.findall(r"--([a-z-]+)(?: (\d+))?", " ".join(map(str, options)))
        for key, value in words:
            text = re.sub(rf"^{key}:.*\n", "", text, flags=re.MULTILINE) + f"{key}: {value or 'true'}\n"
        path.write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "local"
    copy = local_copy(project, folder)
    ended = snakemake(copy, "timeseries", "--configfile", copy / "study.yaml")
    assert ended.status == 0, ended.output
    return copy


def of_profile(profile):
    [command] = [command for command in COMMANDS if f"--profile {CHECKOUT}/workflow/profiles/{profile}\n" in command]
    return command


def test_the_commands_are_there():
    assert [command.split()[0] for command in COMMANDS] == ["snakemake", "snakemake", "ls", "scancel", "snakemake"]


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_both_targets(project, expected, profile):
    for name in ("results", "derivatives", "logs", ".snakemake"):
        shutil.rmtree(project / name, ignore_errors=True)
    run_command(project, of_profile(profile))
    tables = sorted(path.relative_to(expected) for path in expected.glob("derivatives/**/*_timeseries.tsv"))
    assert len(tables) == 2
    assert [path for path in tables if (project / path).read_bytes() != (expected / path).read_bytes()] == []
    assert (project / "derivatives/roistream/study.png").is_file()
    run_command(project, of_profile(profile).replace("snakemake timeseries ", "snakemake "))
    assert_same_results(project, expected)


def test_the_commands_for_bad_days(project):
    """The log can be found; cancelling and unlocking are for what hangs and do no harm where nothing does."""
    find_log, cancel, unlock = COMMANDS[2:]
    assert "steps (100%) done" in (project / run_command(project, find_log).strip()).read_text("utf-8")
    run_command(project, cancel)
    run_command(project, unlock)
    assert "Nothing to be done" in run_command(project, of_profile("slurm"))
    assert {job.state for job in submissions("roistream")} == {"COMPLETED"}
