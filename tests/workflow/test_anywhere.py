"""From anywhere, under any name: as a module of another workflow, beside another version, with names that look like patterns."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from workflow.conftest import assert_no_traceback, copy_project, save_small_data, snakemake

PARENT = """
configfile: "own.yaml"


module roistream:
    snakefile: "{root}/Snakefile"
    config: config["regions"]
    prefix: "roi"


use rule * from roistream as roistream_*


rule mine:
    default_target: True
    input:
        "roi/results/first/memory_comparison.tsv",
        "roi/derivatives/roistream/study.tsv",
    output:
        "mine.txt",
    shell:
        "cat {{input}} > {{output}}; echo $PYTHONSAFEPATH >> {{output}}"
"""


def write_json(path, content):
    """Write a config; YAML is a superset of JSON."""
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture(scope="module")
def module_run(tmp_path_factory):
    """Run as a module, with a prefix, in a place and with data that have braces, brackets, blanks and dashes in their names.

    PYTHONPATH names another version of the library, whose numbers are wrong, and PYTHONSAFEPATH is set.
    """
    top = tmp_path_factory.mktemp("module")
    other = shutil.copytree(ROOT / "scripts", top / "other", ignore=shutil.ignore_patterns("__pycache__"))
    for path in other.rglob("*.py"):
        path.write_text("raise ImportError('the other version')\n")
    work = top / "{image} [x] *"
    data = save_small_data(top / "-{n} [y] ~" / "'ä' {atlas}")
    work.mkdir()
    confounds = []
    rng = np.random.default_rng(1)
    for name, length in {"a1": 10, "a2": 7}.items():
        path = data.folder / f"{name} {{confounds}}.tsv"
        rows = rng.standard_normal((length, 2))
        path.write_text("010\t-on\n" + "".join(f"{a}\t{b}\n" for a, b in rows), "utf-8")
        confounds.append(path)
    with (work / "20240101").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["image", "run", "confounds"])
        for path, table in zip((data.runs["a1"], data.runs["a2"]), confounds, strict=True):
            writer.writerow(["first", path, table])
    settings = {
        "dataset": 20240101,
        "atlas": str(data.atlas),
        "atlas_labels": str(data.labels),
        "regions": [5, 1, 13],
        "strategies": ["stream", "numpy_path"],
        "n_jobs": 1,
        "cleaning": {"confounds": True, "confound_columns": ["-on", "010"], "detrend": True},
    }
    write_json(work / "own.yaml", {"regions": settings, "samples": "mine"})
    (work / "Snakefile").write_text(PARENT.format(root=ROOT), "utf-8")
    nowhere = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}
    environment = {**os.environ, **nowhere, "PYTHONPATH": str(other), "PYTHONSAFEPATH": "1"}

    def run(*arguments):
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nocolor", *arguments]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, encoding="utf-8")
        return done.returncode, done.stdout + done.stderr

    return work, run, run()


def test_results_lie_below_the_prefix(module_run):
    work, _, (status, output) = module_run
    assert status == 0, output
    assert (work / "mine.txt").read_text().endswith("\n1\n"), "the shell of others is left alone"
    assert {path.name for path in work.iterdir()} - {".snakemake"} == {
        "20240101",
        "Snakefile",
        "own.yaml",
        "mine.txt",
        "roi",
    }
    assert {path.name for path in (work / "roi").iterdir()} == {"results", "resources", "derivatives", "logs"}
    assert "other version" not in output
    tables = [work / f"roi/results/first/{name}/timeseries.tsv" for name in ("stream", "numpy_path")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    facts = json.loads((work / "roi/results/first/stream/extraction.json").read_text("utf-8"))
    assert facts["confound_columns"] == ["-on", "010"]
    assert all("{atlas}" in name for name in facts["sources"]), "results name the files, not links to them"
    with (work / "roi/derivatives/roistream/study.tsv").open() as stream:
        assert [row["status"] for row in csv.DictReader(stream, delimiter="\t")] == ["done"]


def test_the_next_run_has_nothing_to_do(module_run):
    _, run, _ = module_run
    status, output = run("--dry-run")
    assert status == 0
    assert "Nothing to be done" in output


def test_a_report_needs_no_network(module_run):
    work, run, _ = module_run
    status, output = run("--report", "report.html")
    assert status == 0, output
    text = (work / "report.html").read_text("utf-8")
    assert "memory_comparison" in text
    assert "study.png" in text


def test_all_that_is_wrong_is_told_before_any_job(tmp_path):
    """Problems of the config, of the runs and of the atlas at once, each in one sentence."""
    data = save_small_data(tmp_path / "data")
    (tmp_path / "atlas.nii.gz").symlink_to(".git/annex/objects/x")
    (data.folder / "gone.nii.gz").symlink_to("../.git/annex/objects/y")
    os.mkfifo(data.folder / "pipe.nii")
    os.mkfifo(tmp_path / "labels.tsv")
    rows = ["first\ta1.nii.gz", "first\tgone.nii.gz", "second\tpipe.nii", "second\t" + "x" * 300]
    data.table.write_text("image\trun\n" + "".join(f"{row}\n" for row in rows), "utf-8")
    config = {"dataset": data.table, "atlas": "atlas.nii.gz", "atlas_labels": "labels.tsv", "data_dir": "settings.yaml"}
    ended = snakemake(tmp_path, config=config)
    assert ended.status == 1
    assert_no_traceback(tmp_path, ended)
    found = re.findall(r"^(?:ERROR: |line \d+: ).*$", ended.output, re.MULTILINE)
    words = ["git-annex", "a pipe", "no folder", "3 problems", "git-annex", "a pipe", "too long"]
    for sentence, word in zip(found, words, strict=True):
        assert word in sentence
    assert not (tmp_path / "logs").exists()


def test_a_job_that_fails_says_its_sentence_once(tmp_path):
    """And no list of its masks stands around it where Snakemake words the command."""
    project = copy_project(tmp_path / "[pro jekt] * 's")
    data = save_small_data(tmp_path / "data")
    whole = data.runs["b"].read_bytes()
    data.runs["b"].write_bytes(whole[: len(whole) // 2])
    data.table.write_text("image\trun\nsecond\tb.nii.gz\n")
    folder = tmp_path / "work"
    config = {
        "dataset": data.table,
        "atlas": data.atlas,
        "regions": [5, 1, 13],
        "strategies": ["numpy_path"],
        "n_jobs": 1,
    }
    ended = snakemake(folder, config=config, root=project)
    assert ended.status == 1
    assert_no_traceback(folder, ended)
    assert len(re.findall(r"^ERROR: .*", ended.output, re.MULTILINE)) == 1
    assert ended.output.count("ends early") == 1
    commands = [line for line in ended.output.splitlines() if "extract_regions.py" in line]
    assert commands
    assert not [line for line in commands if "_mask.nii.gz" in line]
    log = (folder / "logs/extract_regions/second/numpy_path.log").read_text("utf-8")
    assert log.count("ERROR") == 1
