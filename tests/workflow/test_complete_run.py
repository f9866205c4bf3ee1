"""A complete run of two images by all strategies: every file that interface.md promises, and nothing else."""

import csv
import json
import math
import warnings
import xml.etree.ElementTree
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from conftest import AFFINE
from roistream.images.grids import grid_id
from roistream.images.image import inspect
from roistream.memory.predict import predict_peak_mib
from roistream.regions.coverage import read_regions
from roistream.samples import adhd
from roistream.strategies import STRATEGIES
from workflow.conftest import (
    ATLAS_AFFINE,
    BLOCKS,
    COMPLETE,
    GRID,
    LENGTHS,
    NAMES,
    T_R,
    assert_no_traceback,
    files_below,
)

LABELS = COMPLETE["regions"]
IMAGES = {"first": ["a1", "a2"], "second": ["b"]}
N_VOLUMES = {image: sum(LENGTHS[run] for run in runs) for image, runs in IMAGES.items()}
SUMMARY_KEYS = {
    "strategy",
    "n_jobs",
    "n_regions",
    "n_volumes",
    "image_mib",
    "peak_pss_mib",
    "peak_rss_mib",
    "peak_shm_mib",
    "predicted_mib",
    "wall_s",
}

image_by_image = pytest.mark.parametrize("image", list(IMAGES))
strategy_by_strategy = pytest.mark.parametrize("strategy", list(STRATEGIES))


def read_table(path):
    """Read a TSV as a list of rows, each a dict of text."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", strict=True))


def load(path):
    return np.asarray(nib.load(path).dataobj)


def nearest_labels():
    """Take the atlas to the runs' grid by hand: each voxel gets the label of the atlas's voxel that its centre lies in."""
    atlas = np.zeros((99, 99, 99), int)  # larger than the atlas, with room for indices beyond its end
    for label, block in BLOCKS.items():
        atlas[block] = label
    centres = (
        np.linalg.inv(ATLAS_AFFINE) @ AFFINE @ np.vstack([np.indices(GRID).reshape(3, -1), np.ones(np.prod(GRID))])
    )
    indices = np.rint(centres[:3]).astype(int)
    assert indices.min() >= 0
    return atlas[tuple(indices)].reshape(GRID)


@pytest.fixture(scope="module", params=list(IMAGES))
def extracted(request, complete_run):
    """Give an image's name and what nilearn itself extracts from it, as float32, for each label."""
    results = complete_run.results(request.param)
    arrays = {}
    for label in LABELS:
        masker = NiftiMasker(mask_img=results / f"masks/region-{label}_mask.nii.gz", standardize=None, reports=False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Generation of a mask", UserWarning)
            arrays[label] = masker.fit_transform(results / f"{request.param}_bold.nii.gz").astype(np.float32)
    return request.param, arrays


def test_it_succeeds(complete_run):
    assert complete_run.ended.status == 0, complete_run.ended.output
    assert_no_traceback(complete_run.folder, complete_run.ended)
    assert "ERROR" not in complete_run.ended.output


def test_nothing_lies_elsewhere(complete_run):
    made = files_below(complete_run.folder) - complete_run.given
    assert {path.parts[0] for path in made} == {"resources", "results", "logs", ".snakemake"}
    atlases = {path.name.split("_", 2)[2] for path in made if path.parts[0] == "resources"}
    assert atlases == {"dseg.nii.gz", "dseg.json", "regions.tsv", "coverage.npy"}, "one grid"
    assert complete_run.given <= files_below(complete_run.folder)
    study = {f"study_memory.{ending}" for ending in ("tsv", "png", "svg")}
    assert {path.parts[1] for path in made if path.parts[0] == "results"} == {*IMAGES, *study}
    assert [path for path in made if ".partial-" in path.name or path.suffix == ".nii"] == [], "all else is temporary"


def test_every_job_has_a_log(complete_run):
    logs = {path.relative_to("logs") for path in files_below(complete_run.folder) if path.parts[0] == "logs"}
    per_image = ["concatenate_runs", "decompress_image", "split_masks", "compare_memory"]
    expected = {f"{rule}/{image}.log" for rule in per_image for image in IMAGES}
    expected |= {f"extract_regions/{image}/{strategy}.log" for image in IMAGES for strategy in STRATEGIES}
    grid = f"place_atlas/atlas_grid-{grid_id(GRID, AFFINE)}.log"
    assert set(map(str, logs)) == expected | {"compare_study.log", grid}
    for image in IMAGES:
        assert f"{N_VOLUMES[image]} volumes" in (complete_run.folder / f"logs/concatenate_runs/{image}.log").read_text()
        for strategy in STRATEGIES:
            log = (complete_run.folder / f"logs/extract_regions/{image}/{strategy}.log").read_text()
            assert f"{strategy}: {len(LABELS)} regions of {N_VOLUMES[image]} volumes" in log
            assert "peak PSS" in log


@image_by_image
def test_the_image_is_its_runs_one_after_the_other(complete_run, image):
    path = complete_run.results(image) / f"{image}_bold.nii.gz"
    runs = [load(complete_run.data.runs[run]) for run in IMAGES[image]]
    assert np.array_equal(load(path), np.concatenate(runs, axis=3))
    loaded = nib.load(path)
    assert loaded.get_data_dtype() == runs[0].dtype
    assert np.array_equal(loaded.affine, AFFINE)
    assert loaded.header.get_zooms()[3] == T_R
    assert loaded.header.get_xyzt_units() == ("mm", "sec")


@image_by_image
def test_atlas_and_masks_lie_on_the_grid_of_the_image(complete_run, image):
    expected = nearest_labels()
    resampled = nib.load(complete_run.results(image) / "atlas_dseg.nii.gz")
    assert resampled.get_data_dtype() == np.int32
    assert np.array_equal(resampled.affine, AFFINE)
    assert np.array_equal(resampled.dataobj, expected)
    masks = sorted(path.name for path in (complete_run.results(image) / "masks").iterdir())
    assert masks == sorted(f"region-{label}_mask.nii.gz" for label in LABELS)
    for label in LABELS:
        mask = nib.load(complete_run.results(image) / f"masks/region-{label}_mask.nii.gz")
        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, AFFINE)
        assert np.array_equal(mask.dataobj, expected == label)


@image_by_image
def test_table_of_regions(complete_run, image):
    labels = nearest_labels()
    assert read_table(complete_run.results(image) / "regions.tsv") == [
        {
            "label": str(label),
            "name": NAMES[label],
            "n_voxels_atlas": str(np.prod([axis.stop - axis.start for axis in BLOCKS[label]])),
            "n_voxels": str((labels == label).sum()),
            "coverage": "0.5000" if label == 13 else "1.0000",
            "status": "partial" if label == 13 else "ok",
        }
        for label in LABELS
    ]


@strategy_by_strategy
def test_time_series_are_those_of_nifti_masker(complete_run, extracted, strategy):
    image, expected = extracted
    folder = complete_run.results(image) / strategy
    assert len(list(folder.glob("*.npy"))) == len(LABELS)
    for label in LABELS:
        array = np.load(folder / f"region-{label}_timeseries.npy")
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.shape == (N_VOLUMES[image], (nearest_labels() == label).sum())
        assert np.array_equal(array, expected[label])


@strategy_by_strategy
def test_table_of_means(complete_run, extracted, strategy):
    image, expected = extracted
    rows = read_table(complete_run.results(image) / strategy / "timeseries.tsv")
    assert list(rows[0]) == [NAMES[label] for label in LABELS]
    found = np.array([list(map(float, row.values())) for row in rows])
    assert found.shape == (N_VOLUMES[image], len(LABELS))
    means = [expected[label].mean(axis=1, dtype=float) for label in LABELS]
    np.testing.assert_allclose(found, np.transpose(means), rtol=1e-8)


@strategy_by_strategy
@image_by_image
def test_memory_trace_and_summary(complete_run, image, strategy):
    folder = complete_run.results(image) / strategy
    trace = read_table(folder / "memory.tsv")
    assert list(trace[0]) == ["time_s", "pss_mib", "rss_mib", "shm_mib"]
    columns = {name: [float(row[name]) for row in trace] for name in trace[0]}
    assert columns["time_s"][0] >= 0
    assert all(earlier < later for earlier, later in pairwise(columns["time_s"]))
    summary = json.loads((folder / "memory.json").read_text())
    assert set(summary) >= SUMMARY_KEYS
    assert summary["strategy"] == strategy
    assert summary["n_jobs"] == 1
    assert summary["n_regions"] == len(LABELS)
    assert summary["n_volumes"] == N_VOLUMES[image]
    bytes_per_voxel = {"first": 4, "second": 2}[image]
    mib = math.prod(GRID) * N_VOLUMES[image] * bytes_per_voxel / 2**20
    assert summary["image_mib"] == pytest.approx(mib, abs=5e-4)
    for kind in ("pss", "rss", "shm"):
        assert summary[f"peak_{kind}_mib"] == max(columns[f"{kind}_mib"])
    assert 10 < summary["peak_pss_mib"] <= summary["peak_rss_mib"], "what Snakemake shares counts in part"
    assert summary["peak_rss_mib"] > 20, "Python with numpy takes more than 20 MiB"
    assert summary["wall_s"] >= columns["time_s"][-1]
    n_voxels = [region.n_voxels for region in read_regions(folder.parent / "regions.tsv")]
    predicted = predict_peak_mib(strategy, inspect(folder.parent / f"{image}_bold.nii.gz"), n_voxels, 1, {})
    assert summary["predicted_mib"] == pytest.approx(predicted, abs=1)


@image_by_image
def test_comparison(complete_run, image):
    results = complete_run.results(image)
    rows = read_table(results / "memory_comparison.tsv")
    assert [row["strategy"] for row in rows] == list(STRATEGIES)
    for row in rows:
        summary = json.loads((results / row["strategy"] / "memory.json").read_text())
        assert set(row) == SUMMARY_KEYS
        assert float(row["peak_pss_mib"]) == pytest.approx(summary["peak_pss_mib"])
        assert float(row["wall_s"]) == pytest.approx(summary["wall_s"])
    assert (results / "memory_comparison.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    figure = xml.etree.ElementTree.parse(results / "memory_comparison.svg")
    words = " ".join(" ".join(figure.getroot().itertext()).split())
    assert image in words
    for strategy in STRATEGIES.values():
        for part in strategy.label.split(", "):
            assert part in words


def test_comparison_of_the_study(complete_run):
    results = complete_run.folder / "results"
    rows = read_table(results / "study_memory.tsv")
    assert [(row.pop("image"), row["strategy"]) for row in rows] == [
        (image, strategy) for image in IMAGES for strategy in STRATEGIES
    ]
    assert rows == [row for image in IMAGES for row in read_table(results / image / "memory_comparison.tsv")]
    assert (results / "study_memory.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    words = " ".join(" ".join(xml.etree.ElementTree.parse(results / "study_memory.svg").getroot().itertext()).split())
    assert "from 2 images of 8 to 17 volumes each, 1 parallel job" in words


def test_the_default_made_small(simulated_run):
    made = files_below(simulated_run)
    assert {path.parts[0] for path in made} == {"results", "resources", "logs", ".snakemake"}
    results = simulated_run / "results/large_fmri"
    assert nib.load(results / "large_fmri_bold.nii.gz").shape == (*adhd.GRID, 6)
    subjects = [simulated_run / "resources/simulated" / adhd.run_path(subject) for subject in adhd.SUBJECT_IDS[:2]]
    expected = np.concatenate([load(subject) for subject in subjects], axis=3)
    assert np.array_equal(load(results / "large_fmri_bold.nii.gz"), expected)
    regions = read_table(results / "regions.tsv")
    assert [(row["label"], row["status"]) for row in regions] == [(str(label), "ok") for label in range(1, 7)]
    for label in range(1, 7):
        mask = load(results / f"masks/region-{label}_mask.nii.gz") != 0
        found = np.load(results / f"numpy_path/region-{label}_timeseries.npy")
        assert mask.sum() > 100
        assert np.array_equal(found, expected[mask].T)
    assert {path.name for path in results.iterdir() if path.is_dir()} == {"masks", "numpy_path"}
    summary = json.loads((results / "numpy_path/memory.json").read_text())
    assert summary["n_jobs"] == 2, "the default of 6 is capped by --cores 2"
