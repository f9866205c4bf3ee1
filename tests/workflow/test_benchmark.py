"""The benchmark, run as a user runs it but tiny: everything is there. How fast and how large is not for tests to say."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

import benchmarks.__main__
from benchmarks.bars import Bar
from benchmarks.judge import judge
from benchmarks.values import compare
from conftest import ROOT
from roistream.strategies import STRATEGIES

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"}
EXPERIMENTS = tuple(experiment.__name__ for experiment in benchmarks.__main__.EXPERIMENTS)


def benchmark(*arguments, module="benchmarks", **options):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=900, env=ENVIRONMENT, **options
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Make the trial in a folder that is not the project's; give the folder of the report."""
    folder = tmp_path_factory.mktemp("benchmark")
    done = benchmark("--quick", "--out", "report", "--workdir", "work", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (folder / "work/quick/out").exists()  # the results of what was measured
    return folder / "report"


@pytest.fixture(scope="module")
def results(report):
    return json.loads((report / "benchmark.json").read_text())


def tables(text):
    """Read all tables of a Markdown text by their headings: lists of rows, each a list of cells."""
    found, heading = {}, None
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


@pytest.mark.slow
def test_files(report):
    assert sorted(path.name for path in report.iterdir()) == [f"benchmark.{x}" for x in ("json", "md", "png", "svg")]
    assert (report / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    drawn = "".join(xml.etree.ElementTree.parse(report / "benchmark.svg").getroot().itertext())
    assert all(name in drawn for name in STRATEGIES)


@pytest.mark.slow
def test_raw_figures(results):
    assert results["quick"] is True
    assert results["image"]["n_volumes"] == 24
    for experiment in EXPERIMENTS:
        assert results[experiment]
        for row in results[experiment]:
            assert len(row["runs"]) == 1, row
            assert row["runs"][0]["wall_s"] > 0
            if experiment != "address_space":
                assert row["runs"][0]["exit_status"] == 0
    for experiment in ("strategies", "address_space"):
        assert set(STRATEGIES) <= {row["name"] for row in results[experiment]}
    assert {row["n_regions"] for row in results["growth"]} == {2, 64, 444}
    assert [row["n_volumes"] for row in results["growth"][:3]] == [24, 48, 72]


@pytest.mark.slow
def test_results_are_the_same_for_all_strategies(results):
    compared = {row["name"]: row["identical"] for row in results["strategies"] if row["name"] in STRATEGIES}
    assert compared == dict.fromkeys(STRATEGIES, True)
    assert results["cleaning"][1]["identical"] is True


@pytest.mark.slow
def test_studies_are_what_they_should_be(results):
    identical = {
        row["name"]: row["identical"]
        for experiment in ("label_means", "label_cleaning", "series")
        for row in results[experiment]
        if "identical" in row and not row["name"].endswith("1 region")
    }
    assert identical == {"NiftiLabelsMasker, 64 labels": True, "NiftiLabelsMasker": True, "2 runs as a series": True}
    for row in results["label_means"]:
        if row["name"].endswith("1 region"):  # they print some digits
            assert row["largest_difference"] < 1e-4
    alone, study = results["study"]
    assert alone["files_per_image"] == 64 + 2
    assert 1 <= study["files_per_image"] <= 4
    assert {row["n_images"] for row in results["dry_runs"]} == {2, 3}
    assert {row["name"] for row in results["steps"] if row["asked_mib"]} == {
        row["name"] for row in results["steps"]
    } - {"compare_memory"}  # the head node's own


@pytest.mark.slow
def test_report(report, results):
    text = (report / "benchmark.md").read_text()
    assert "![" in text
    assert "trial" in text
    found = tables(text)
    bars = found.pop("The bars")
    assert len(bars) == 2 + len(judge(results))
    assert {row[3] for row in bars[2:]} <= {"yes", "**no**", "–"}
    assert len(found.pop("Benchmark")) > 8  # the machine
    # The others belong to the experiments, in their order.
    assert len(found) == len(EXPERIMENTS)
    for (heading, rows), experiment in zip(found.items(), EXPERIMENTS, strict=True):
        names = [row[0].strip("`") for row in rows[2:]]
        expected = [row["name"] for row in results[experiment]]
        assert names == expected, heading
        assert {len(row) for row in rows} == {len(rows[0])}, heading


@pytest.mark.slow
def test_nothing_tells_of_the_machine_but_its_kind(report):
    for ending in ("json", "md", "svg"):
        text = (report / f"benchmark.{ending}").read_text()
        assert str(ROOT) not in text
        assert str(report.parent) not in text
        assert sys.prefix not in text


def test_no_library_is_shared_with_what_is_measured():
    command = [sys.executable, "-c", "import sys, benchmarks.__main__; print(sorted(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)

    loaded = done.stdout
    assert "'roistream.memory.measure'" in loaded
    assert not [name for name in ("numpy", "scipy", "nibabel", "pandas", "matplotlib", "isal") if f"'{name}'" in loaded]


@pytest.mark.slow
def test_report_can_be_written_anew(report):
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    for name in set(before) - {"benchmark.json"}:
        (report / name).unlink()

    done = benchmark("--report-only", "--out", report)

    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


def run(**figures):
    return {
        "peak_pss_mib": 1.0,
        "wall_s": 1.0,
        "output_mib": 1.0,
        "exit_status": 0,
        "message": "",
        "n_lines": 0,
    } | figures


@pytest.fixture
def invented():
    """Results that hold every bar, each exactly or by a little."""
    failed = {"exit_status": 1, "message": "ERROR: Not enough memory.", "n_lines": 1}

    def row(name, *runs, **facts):
        return {"name": name, "runs": [run(**entries) for entries in runs], "identical": True, **facts}

    return {
        "label_means": [
            row("igzip -dc", {"wall_s": 1.0}),
            row("extract_timeseries.py, 64 labels", {"peak_pss_mib": 40, "wall_s": 1.35}),
            row("extract_timeseries.py, 444 labels", {"wall_s": 1.35 * 1.1}),
            row("NiftiLabelsMasker, 64 labels", {"peak_pss_mib": 1000, "wall_s": 8.2}),
            row("wb_command -volume-stats, 1 region", {"peak_pss_mib": 600, "wall_s": 3.5}),
            row("mrstats -mask, 1 region", {"peak_pss_mib": 600, "wall_s": 3.5}),
        ],
        "label_cleaning": [row("extract_timeseries.py", {"peak_pss_mib": 200}), row("NiftiLabelsMasker", {})],
        "series": [
            row("3 runs as a series", {"wall_s": 1.05}, written_mib=0.5, input_mib=50.0),
            row("their concatenation", {}, written_mib=0.5, input_mib=50.0),
        ],
        "study": [
            row("one by one", {"wall_s": 8}, n_images=12, files_per_image=66, disk_mib=50.0, input_mib=50.0),
            row("snakemake", {"wall_s": 10}, n_images=12, files_per_image=4, disk_mib=0.5, input_mib=50.0),
        ],
        "dry_runs": [
            row("many", {"wall_s": 30, "peak_pss_mib": 400}, target="timeseries", n_images=1000),
            row("very many", {"wall_s": 300, "peak_pss_mib": 2560}, target="timeseries", n_images=10_000),
            row("comparison", {"wall_s": 60, "peak_pss_mib": 1536}, target="all", n_images=1000),
            row("a trial", {"wall_s": 600}, target="timeseries", n_images=2),
        ],
        "strategies": [
            row("igzip -dc", {"wall_s": 1.25}),
            *[row(name, {"peak_pss_mib": 11_000, "wall_s": 3}) for name in STRATEGIES if name != "stream"],
            # The median counts, not the outlier.
            row("stream", *[{"peak_pss_mib": peak, "wall_s": 2} for peak in (110, 999, 109)]),
        ],
        "growth": [
            row("short", {"peak_pss_mib": 100, "output_mib": 20}, n_volumes=857, n_regions=6, image_mib=888),
            row("long", {"peak_pss_mib": 290, "output_mib": 200}, n_volumes=8570, n_regions=6, image_mib=8880),
            row("many", {"wall_s": 1.5}, n_volumes=857, n_regions=444, image_mib=888),
        ],
        "cleaning": [row("nifti_masker_path", {"wall_s": 4}), row("stream", {"peak_pss_mib": 300})],
        "concatenation": [row("concat_imgs", {"wall_s": 4}), row("concatenate_runs", {"peak_pss_mib": 120})],
        "prediction": [
            row("low", {"peak_pss_mib": 100}, predicted_mib=95.0),
            row("high", {"peak_pss_mib": 100}, predicted_mib=140.0),
        ],
        "address_space": [row(name, failed if name != "stream" else {}, image_mib=8880) for name in STRATEGIES],
    }


def test_bars_that_hold(invented):
    bars = judge(invented)
    assert [bar for bar in bars if not bar.holds] == []
    assert all(isinstance(bar, Bar) and bar.measured for bar in bars)


def change(results, experiment, name, **figures):
    for row in results[experiment]:
        if row["name"] == name:
            row |= {key: figures.pop(key) for key in set(row) & set(figures)}
            row["runs"] = [each | figures for each in row["runs"]]


@pytest.mark.parametrize(
    ("experiment", "name", "figures", "failing"),
    [
        ("label_means", "igzip -dc", {"wall_s": 0.99}, ["… wall from the .nii.gz"]),
        ("label_means", "extract_timeseries.py, 64 labels", {"peak_pss_mib": 57}, ["means of 64", *["… against"] * 3]),
        ("label_means", "extract_timeseries.py, 444 labels", {"wall_s": 1.5}, ["… wall of 444"]),
        ("label_means", "wb_command -volume-stats, 1 region", {"wall_s": 3.3}, ["… against `wb_command"]),
        ("label_means", "mrstats -mask, 1 region", {"peak_pss_mib": 599}, ["… against `mrstats"]),
        ("label_means", "NiftiLabelsMasker, 64 labels", {"wall_s": 8}, ["… against `NiftiLabelsMasker"]),
        ("label_means", "NiftiLabelsMasker, 64 labels", {"identical": False}, ["… its values"]),
        ("label_cleaning", "extract_timeseries.py", {"peak_pss_mib": 201}, ["… with detrend"]),
        ("label_cleaning", "NiftiLabelsMasker", {"identical": False}, ["… its values against"]),
        ("series", "3 runs as a series", {"identical": False}, ["3 runs as a series"]),
        ("series", "3 runs as a series", {"wall_s": 1.06}, ["… wall"]),
        ("series", "3 runs as a series", {"written_mib": 0.6}, ["… written"]),
        ("study", "snakemake", {"wall_s": 10.1}, ["study of 12 images"]),
        ("study", "snakemake", {"files_per_image": 5}, ["… files"]),
        ("study", "snakemake", {"disk_mib": 0.6}, ["… disk"]),
        ("dry_runs", "many", {"wall_s": 30.1}, ["dry run: many"]),
        ("dry_runs", "very many", {"peak_pss_mib": 2561}, ["dry run: very many"]),
        ("dry_runs", "comparison", {"wall_s": 61}, ["dry run: comparison"]),
        (
            "strategies",
            "stream",
            {"peak_pss_mib": 110.1},
            ["peak PSS of `stream`, whole process tree", "… against nifti"],
        ),
        ("strategies", "nifti_masker_path", {"peak_pss_mib": 10_000}, ["… against nifti_masker_path"]),
        ("strategies", "shared_memory", {"peak_pss_mib": 1_000}, ["… against the best reference method"]),
        ("strategies", "mmap", {"peak_pss_mib": 1}, []),
        ("strategies", "igzip -dc", {"wall_s": 1.2}, ["wall of `stream` from"]),
        ("strategies", "mmap", {"wall_s": 2}, ["… against the other strategies"]),
        ("strategies", "mmap", {"identical": False}, ["time series of all"]),
        ("growth", "long", {"peak_pss_mib": 290.1}, ["peak of `stream` from"]),
        ("growth", "many", {"wall_s": 1.51}, ["wall of `stream` for 444"]),
        ("cleaning", "stream", {"peak_pss_mib": 301}, ["smoothing and cleaning"]),
        ("cleaning", "stream", {"wall_s": 1.1}, ["… against `nifti_masker_path`"]),
        ("cleaning", "stream", {"identical": False}, ["… its time series"]),
        ("concatenation", "concatenate_runs", {"peak_pss_mib": 121}, ["concatenation"]),
        ("concatenation", "concat_imgs", {"wall_s": 3.9}, ["… against `concat_imgs`"]),
        ("prediction", "low", {"peak_pss_mib": 100.1}, ["predicted peak"]),
        ("prediction", "high", {"peak_pss_mib": 99.9}, ["predicted peak"]),
        ("address_space", "stream", {"exit_status": 1}, ["8.7 GiB image"]),
        ("address_space", "mmap", {"exit_status": 1, "n_lines": 2}, ["… the other strategies"]),
        ("address_space", "mmap", {"exit_status": 134, "message": ""}, ["… the other strategies"]),
        ("address_space", "mmap", {"exit_status": 0, "message": "", "n_lines": 0}, []),
    ],
)
def test_bars_that_do_not_hold(invented, experiment, name, figures, failing):
    change(invented, experiment, name, **figures)

    failed = [bar.figure for bar in judge(invented) if not bar.holds]

    assert len(failed) == len(failing)
    assert all(figure.startswith(start) for figure, start in zip(failed, failing, strict=True))


def test_what_is_not_installed_is_not_judged(invented):
    missing = ("igzip", "wb_command", "mrstats")
    for experiment in ("label_means", "strategies"):
        invented[experiment] = [row for row in invented[experiment] if not row["name"].startswith(missing)]

    bars = [bar for bar in judge(invented) if bar.holds is None]

    assert len(bars) == 4
    assert all("not installed" in bar.measured for bar in bars)


def test_values_are_compared_to_the_bit(tmp_path):
    values = np.array([[0.1, np.nan], [1e-30, 3]], np.float32)
    table, array, text = tmp_path / "t.tsv", tmp_path / "a.npy", tmp_path / "v.txt"
    table.write_text("a\tb\n" + "".join(f"{a}\t{b}\n".replace("nan", "n/a") for a, b in values.astype(str)))
    np.save(array, values)
    text.write_text("0.1\n0.0003\n")

    assert compare(table, array) == {"identical": True, "largest_difference": pytest.approx(0, abs=1e-7)}
    assert compare(table, text) == {"identical": False, "largest_difference": pytest.approx(3e-3)}
    np.save(array, np.nextafter(values, np.float32(9)))
    assert compare(table, array)["identical"] is False
    np.save(array, values[:1])
    assert compare(table, array) == {"identical": False, "largest_difference": np.inf}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_room_has_at_most_300_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= 300


@pytest.mark.slow
def test_the_maskers(report, tmp_path):
    """On the data that the trial has made: all cases are measured, and the results are right."""
    options = ("--quick", "--out", tmp_path, "--workdir", report.parent / "work")
    done = benchmark(*options, module="benchmarks.maskers", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "maskers.json").read_text())
    kinds = [name.partition(",")[0] for name in measured["cases"]]
    assert [kinds.count(f"Nifti{kind}Masker") for kind in ("", "Labels", "Maps", "Spheres")] == [2, 5, 2, 1]
    for name, found in measured["cases"].items():
        assert found["same"] or "Maps" in name, name
        assert found.get("apart_ours", 0) <= 1e-6
    [table] = tables(done.stdout).values()
    assert len(table) == 2 + len(measured["cases"])
    assert "times as many volumes" in done.stdout
