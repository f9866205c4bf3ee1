"""The target timeseries on a study of thirty images of all kinds, one of them broken: what comes of it, and what of it again."""

import csv
import json
import os
import re
import shutil
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiLabelsMasker

from conftest import AFFINE, read_table, save_run
from roistream.images.grids import grid_id
from roistream.study.derivatives import image_prefix, image_stem
from workflow.conftest import (
    BLOCKS,
    GRID,
    NAMES,
    T_R,
    Ended,
    assert_no_traceback,
    files_below,
    finish,
    save_atlas,
    snakemake,
    snakemake_command,
    start_snakemake,
    write_table,
)

N_IMAGES = 30
LOW_GRID, LOW_AFFINE = (10, 11, 6), AFFINE @ np.diag([1.1, 1.1, 1.1, 1])
"""A coarser grid, which ends below region 13."""

LABELS = list(BLOCKS)
ATLAS = "Six"
CONFIG = {
    "dataset": "my data/runs.tsv",
    "atlas": "my data/atlas.nii.gz",
    "atlas_labels": "my data/labels.tsv",
    "atlas_name": ATLAS,
    "regions": "all",
    "empty_regions": "keep",
}
TABLES = ("stat-coverage_bold.tsv", "stat-mean_timeseries.json", "stat-mean_timeseries.tsv")


def save_scaled(path, data, slope, inter):
    """Save integers that stand for `slope` times themselves plus `inter`."""
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = T_R
    image.header.set_slope_inter(slope, inter)
    image.to_filename(path)
    return path


def save_study(folder, n_images=N_IMAGES):
    """Save the images of a study with its tables; give the runs of each image.

    The first four are special: runs of different types, 3D volumes, a region without data, a file that breaks off.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(19)
    runs = {"sub-01_ses-2_task-rest_desc-preproc_bold": ["a.nii.gz", "b.nii", "c.nii.gz"]}
    save_run(folder / "a.nii.gz", rng.normal(100, 10, (*GRID, 6)).astype(np.float32), t_r=T_R)
    save_scaled(folder / "b.nii", rng.integers(-2000, 2000, (*GRID, 4)).astype(np.int16), 0.02, 100.3)
    save_run(folder / "c.nii.gz", rng.integers(0, 255, (*GRID, 5)).astype(np.uint8), t_r=T_R)
    runs["volumes"] = [f"volume {number}.nii.gz" for number in range(5)]
    for name in runs["volumes"]:
        nib.Nifti1Image(rng.normal(100, 10, GRID), AFFINE, dtype=np.float64).to_filename(folder / name)
    runs["hole"] = ["hole.nii.gz"]
    hole = rng.normal(100, 10, (*GRID, 5)).astype(np.float32)
    hole[8:, :4] = 0  # all of region 1, and a part of 13
    hole[5, 7, 2, 2] = np.nan  # in region 5
    save_run(folder / "hole.nii.gz", hole, t_r=T_R)
    runs["cut"] = ["cut.nii.gz"]
    save_run(folder / "cut.nii.gz", rng.normal(100, 10, (*GRID, 5)).astype(np.float32), t_r=T_R)
    shutil.copy(folder / "cut.nii.gz", folder / "whole.nii.gz")
    (folder / "cut.nii.gz").write_bytes((folder / "whole.nii.gz").read_bytes()[:-3000])
    for number in range(len(runs), n_images):
        image, name = f"sub-{number:02}_task-rest", f"run-{number}.nii.gz"
        grid, affine = (LOW_GRID, LOW_AFFINE) if number % 3 == 0 else (GRID, AFFINE)
        values = rng.normal(100, 10, (*grid, 4 + number % 5))
        save_run(folder / name, values.astype([np.float32, np.int16][number % 2]), affine, T_R)
        runs[image] = [name]
    save_atlas(folder / "atlas.nii.gz", BLOCKS)
    rows = "".join(f"{label}\t{name}\n" for label, name in NAMES.items())
    (folder / "labels.tsv").write_text(f"index\tname\n{rows}", "utf-8")
    write_table(folder / "runs.tsv", [(image, run) for image, names in runs.items() for run in names])
    return {image: [folder / name for name in names] for image, names in runs.items()}


@dataclass(frozen=True)
class Study:
    """A study that has been run, and its table as it was then."""

    folder: Path
    runs: dict
    ended: Ended
    table: str

    def path(self, image, ending):
        return self.folder / f"{image_prefix(image, ATLAS)}_{ending}"

    def atlas(self, image):
        grid, affine = nib.load(self.runs[image][0]).shape[:3], nib.load(self.runs[image][0]).affine
        return self.folder / f"resources/atlases/{ATLAS}_grid-{grid_id(grid, affine)}_dseg.nii.gz"


def started(output, rule):
    """Count the jobs of a rule that were started."""
    return len(re.findall(rf"^(?:local)?rule {rule}:$", output, re.MULTILINE))


def study_rows(text):
    return {row["image"]: row for row in csv.DictReader(text.splitlines(), delimiter="\t")}


def states(folder):
    below = [path for path in files_below(folder) if path.parts[0] in ("derivatives", "resources")]
    return {path: (folder / path).stat().st_mtime_ns for path in below}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Run the study with its broken image."""
    folder = tmp_path_factory.mktemp("study") / "Übung 1"
    runs = save_study(folder / "my data")
    ended = snakemake(folder, "timeseries", "--keep-going", config=CONFIG)
    table = folder / "derivatives/roistream/study.tsv"
    return Study(folder, runs, ended, table.read_text("utf-8") if table.exists() else "")


@pytest.fixture(scope="module")
def repaired(study):
    """Put a sound file in the place of the broken one, and run the study again."""
    before = states(study.folder)
    data = study.folder / "my data"
    shutil.copy(data / "whole.nii.gz", data / "cut.nii.gz")
    ended = snakemake(study.folder, "timeseries", config=CONFIG)
    table = (study.folder / "derivatives/roistream/study.tsv").read_text("utf-8")
    return Study(study.folder, study.runs, ended, table), before


def test_one_broken_image_stops_no_other(study):
    assert study.ended.status == 1, study.ended.output
    assert_no_traceback(study.folder, study.ended)
    made = {image for image in study.runs if study.path(image, TABLES[-1]).exists()}
    assert made == set(study.runs) - {"cut"}
    assert not list(study.path("cut", "").parent.glob("*")), "nothing that looks finished"


def test_the_table_of_the_study_names_the_broken_image(study):
    rows = study_rows(study.table)
    assert list(rows) == [image_stem(image) for image in study.runs]
    assert {image for image, row in rows.items() if row["status"] == "missing"} == {"cut"}
    assert "cut.nii.gz ends early" in rows["cut"]["reason"]
    assert {row["status"] for row in rows.values()} == {"done", "missing"}


def test_an_image_that_was_repaired_is_all_that_is_done_again(repaired):
    study, before = repaired
    assert study.ended.status == 0, study.ended.output
    assert_no_traceback(study.folder, study.ended)
    assert {rule: started(study.ended.output, rule) for rule in ("place_atlas", "extract_timeseries")} == {
        "place_atlas": 0,
        "extract_timeseries": 1,
    }
    after = states(study.folder)
    changed = {path for path in before if after[path] != before[path]}
    assert {path.parent for path in changed} == {Path("derivatives/roistream")}, "the summary alone"
    assert {row["status"] for row in study_rows(study.table).values()} == {"done"}


def test_a_further_run_does_nothing(repaired):
    study, _ = repaired
    before = states(study.folder)
    ended = snakemake(study.folder, "timeseries", config=CONFIG)
    assert "Nothing to be done" in ended.output
    assert states(study.folder) == before


def test_files(repaired):
    study, _ = repaired
    made = files_below(study.folder)
    derivatives = {str(path.relative_to("derivatives/roistream")) for path in made if path.parts[0] == "derivatives"}
    expected = {"study.tsv", "study.png", "dataset_description.json", ".bidsignore", f"atlas-{ATLAS}_dseg.tsv"}
    for image in study.runs:
        assert len(TABLES) <= 4
        expected |= {f"{image_prefix(image, ATLAS)}_{ending}".split("/", 2)[2] for ending in TABLES}
    assert derivatives == expected
    assert f"sub-01/ses-2/func/sub-01_ses-2_task-rest_atlas-{ATLAS}_stat-mean_timeseries.tsv" in derivatives
    atlases = {path.name for path in made if path.parts[0] == "resources"}
    grids = [grid_id(GRID, AFFINE), grid_id(LOW_GRID, LOW_AFFINE)]
    endings = ("dseg.nii.gz", "dseg.json", "regions.tsv", "coverage.npy")
    assert atlases == {f"{ATLAS}_grid-{grid}_{ending}" for grid in grids for ending in endings}
    logs = {str(path) for path in made if path.parts[0] == "logs"}
    assert len(logs) == N_IMAGES + len(grids) + 1
    assert {path.parts[0] for path in made} == {
        "derivatives",
        "resources",
        "logs",
        "my data",
        ".snakemake",
        "settings.yaml",
    }


def whole_image(paths):
    """Put runs together in memory; runs that are stored differently become float32, as nilearn makes them."""
    images = [nib.load(path) for path in paths]
    values = [np.asarray(image.dataobj) for image in images]
    values = [array[..., np.newaxis] if array.ndim == 3 else array for array in values]
    if len({array.dtype for array in values}) > 1:
        values = [array.astype(np.float32) for array in values]
    return nib.Nifti1Image(np.concatenate(values, axis=3), images[0].affine)


def nilearn_signals(image, atlas, **options):
    """Let nilearn extract the labels that are there; NaN for the others."""
    present = [label for label in np.unique(nib.load(atlas).dataobj) if label]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masker = NiftiLabelsMasker(atlas, **{"standardize": None, "reports": False, **options})
        confounds = options.pop("confounds", None)
        found = masker.set_params(**options).fit_transform(image, confounds=confounds)
    signals = np.full((len(found), len(LABELS)), np.nan, found.dtype)
    signals[:, [LABELS.index(label) for label in present]] = found
    return signals


def test_every_table_is_that_of_nilearn(repaired):
    """To the last bit, with each region as a column in every table: also where it is not in the image."""
    study, _ = repaired
    for image, runs in study.runs.items():
        table = read_table(study.path(image, "stat-mean_timeseries.tsv"))
        assert list(table) == list(NAMES.values())
        expected = nilearn_signals(whole_image(runs), study.atlas(image))
        if image == "hole":
            assert not expected[:, LABELS.index(1)].any()
            expected[:, LABELS.index(1)] = np.nan
        assert np.array_equal(table.to_numpy().astype(expected.dtype), expected, equal_nan=True), image
        assert table[NAMES[8]].isna().all() == (np.asarray(nib.load(study.atlas(image)).dataobj) != 8).all()
        assert list(read_table(study.path(image, "stat-coverage_bold.tsv"))) == list(NAMES.values())


def test_what_is_missing_is_told(repaired):
    study, _ = repaired
    rows = study_rows(study.table)
    assert rows["hole"]["n_regions_missing"] == "2", "region 1 has no data, 8 no voxel on this grid"
    assert rows["hole"]["n_values_not_finite"] == "1"
    assert float(rows["hole"]["least_coverage"]) == 0
    coverage = read_table(study.path("hole", "stat-coverage_bold.tsv")).iloc[0]
    assert coverage[NAMES[1]] == 0
    assert 0 < coverage[NAMES[13]] < 0.5 < coverage[NAMES[5]] < coverage[NAMES[2]] == 1
    [low] = {
        row["n_regions_missing"] for image, row in rows.items() if image in ("sub-06_task-rest", "sub-09_task-rest")
    }
    sidecar = json.loads(study.path("sub-06_task-rest", "stat-mean_timeseries.json").read_text("utf-8"))
    assert NAMES[13] in sidecar["RegionsMissing"]
    assert int(low) == len(sidecar["RegionsMissing"])
    log = (study.folder / "logs/extract_timeseries/hole/hole.log").read_text("utf-8")
    assert f"Region 1 ({NAMES[1]}) has no data in this image" in log


def test_sidecars_and_summary(repaired):
    study, _ = repaired
    rows = study_rows(study.table)
    for image, runs in study.runs.items():
        sidecar = json.loads(study.path(image, "stat-mean_timeseries.json").read_text("utf-8"))
        assert [Path(source).name for source in sidecar["Sources"]] == [run.name for run in runs]
        row = rows[image_stem(image)]
        assert int(row["n_volumes"]) == sidecar["NumberOfVolumes"] == whole_image(runs).shape[3]
        assert float(row["peak_mib"]) == pytest.approx(sidecar["MeasuredPeakMiB"], rel=1e-4)
        assert "nilearn" not in sidecar["SoftwareVersions"], "none is needed to average"
        if image != "volumes":  # 3D files have no TR
            assert sidecar["RepetitionTime"] == T_R
    png = study.folder / "derivatives/roistream/study.png"
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    description = json.loads(png.with_name("dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["SourceDatasets"] == [{"URL": "my data"}]
    labels = png.with_name(f"atlas-{ATLAS}_dseg.tsv").read_text("utf-8").splitlines()
    assert labels == ["index\tname", *(f"{label}\t{name}" for label, name in NAMES.items())]


def test_an_interrupted_study_goes_on_where_it_was(tmp_path):
    runs = save_study(tmp_path / "my data", 12)
    shutil.copy(tmp_path / "my data/whole.nii.gz", tmp_path / "my data/cut.nii.gz")
    run = start_snakemake(snakemake_command(tmp_path, "timeseries", config=CONFIG, cores=1))
    tables = f"derivatives/roistream/**/*_{TABLES[-1]}"
    deadline_s = time.monotonic() + 300
    while len(list(tmp_path.glob(tables))) < 3 and run.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    interrupted = finish(run)
    assert interrupted.status == 1, interrupted.output
    complete = {path: path.stat().st_mtime_ns for path in tmp_path.glob(tables)}
    assert 2 <= len(complete) < len(runs)
    assert not (tmp_path / "derivatives/roistream/study.png").exists() or "n/a" in (
        tmp_path / "derivatives/roistream/study.tsv"
    ).read_text("utf-8")
    ended = snakemake(tmp_path, "timeseries", "--rerun-incomplete", config=CONFIG)
    assert ended.status == 0, ended.output
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob(tables)}
    assert len(after) == len(runs)
    assert sum(after[path] != complete[path] for path in complete) <= 1, "the one that was being written, at most"
    rows = study_rows((tmp_path / "derivatives/roistream/study.tsv").read_text("utf-8"))
    assert [row["status"] for row in rows.values()] == ["done"] * len(runs)
