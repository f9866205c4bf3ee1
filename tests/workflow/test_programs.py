"""How the rules call the scripts: whatever the names of folders, files and regions, and whatever the user's environment."""

import csv
import os

from roistream.regions.coverage import read_regions
from workflow.conftest import (
    copy_project,
    save_small_data,
    snakemake,
    write_table,
)


def test_odd_names_and_a_foreign_environment(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "Pro jekt's")
    for script in (project / "scripts").glob("*.py"):
        script.chmod(0o644)
    folder = tmp_path / "Übung 1; it's"
    data = save_small_data(folder / "Daten $HOME 1's")
    runs = {name: path.rename(path.with_name(f"it's {path.name}")) for name, path in data.runs.items()}
    write_table(data.table, [("first", runs["a1"].name), ("first", runs["a2"].name)])
    names = {5: """Größe = "12" {image}, 'links' $HOME""", 1: "`x` \\ {params.code}"}
    data.labels.write_text("index\tname\n" + "".join(f"{label}\t{name}\n" for label, name in names.items()), "utf-8")
    foreign = tmp_path / "foreign"
    (foreign / "roistream").mkdir(parents=True)
    (foreign / "roistream" / "__init__.py").write_text("raise ImportError('the wrong one')")
    for name in ("python", "python3"):
        (foreign / name).write_text("#!/bin/sh\necho 'the wrong one' >&2; exit 1\n")
        (foreign / name).chmod(0o755)
    config = {
        "dataset": f"{data.folder.name}/{data.table.name}",
        "atlas": f"{data.folder.name}/{data.atlas.name}",
        "atlas_labels": f"{data.folder.name}/{data.labels.name}",
        "regions": "all",
        "strategies": ["mmap", "stream"],
        "n_jobs": 1,
    }
    monkeypatch.setenv("PATH", str(foreign), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(foreign))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    ended = snakemake(folder, "all", "timeseries", config=config, root=project)
    assert ended.status == 0, ended.output
    results = folder / "results" / "first"
    assert {region.label: region.name for region in read_regions(results / "regions.tsv")} == names
    assert (results / "mmap/timeseries.tsv").read_bytes() == (results / "stream/timeseries.tsv").read_bytes()
    [table] = folder.glob("derivatives/roistream/first/first_atlas-*_stat-mean_timeseries.tsv")
    with table.open(encoding="utf-8", newline="") as stream:
        assert next(csv.reader(stream, delimiter="\t")) == list(names.values())
    assert (folder / "logs/extract_regions/first/stream.log").read_text("utf-8").startswith("INFO: stream: 2 regions")
    # Where the project lies is no reason to run again.
    moved = project.rename(tmp_path / "elsewhere")
    assert "Nothing to be done" in snakemake(folder, config=config, root=moved).output
