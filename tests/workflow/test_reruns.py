"""What runs again after a change: all that depends on it and nothing else.

Most of it is seen in dry runs of the complete run, which announce the jobs that a real run would do.
"""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, save_run
from roistream.strategies import STRATEGIES
from workflow.conftest import (
    BLOCKS,
    COMPLETE,
    GRID,
    T_R,
    copy_project,
    counts,
    files_below,
    plan,
    save_atlas,
    side_by_side,
    snakemake,
    write_table,
)

STUDY = {"compare_study": 1}
# Per image; the complete run has two.
COMPARE = {"compare_memory": 1}
FROM_EXTRACTION = {"decompress_image": 1, "extract_regions": len(STRATEGIES), **COMPARE}
FROM_MASKS = {"split_masks": 1, **FROM_EXTRACTION}
FROM_RUNS = {"concatenate_runs": 1, **FROM_EXTRACTION}
# Both images are on one grid.
FROM_ATLAS = {"place_atlas": 0.5, **FROM_MASKS}
WORKERS = sum(entry.uses_workers for entry in STRATEGIES.values())


def twice(jobs):
    """Both images' jobs, and that of both together which follows."""
    return {rule: int(2 * number) for rule, number in jobs.items()} | (STUDY if jobs else {})


def states(folder):
    """Give size and modification time of each result and each log."""
    below = [path for path in files_below(folder) if path.parts[0] in ("results", "logs")]
    return {path: ((folder / path).stat().st_size, (folder / path).stat().st_mtime_ns) for path in below}


@pytest.fixture(scope="module")
def continued(complete_run, tmp_path_factory):
    """Give a function that copies the complete run, to change it; modification times are kept."""
    assert complete_run.ended.status == 0, complete_run.ended.output
    return lambda: shutil.copytree(complete_run.folder, tmp_path_factory.mktemp("continued") / "Übung 1")


def test_a_second_run_does_nothing(complete_run):
    before = states(complete_run.folder)
    ended = snakemake(complete_run.folder, config=COMPLETE)
    assert ended.status == 0
    assert "Nothing to be done" in ended.output
    assert states(complete_run.folder) == before


# Changed keys, and the jobs that then run again for each image.
CHANGES = {
    "the order of regions": ({"regions": [1, 5, 13]}, FROM_ATLAS),
    "their names": ({"atlas_labels": None}, FROM_ATLAS),
    "what to do with empty ones": ({"empty_regions": "keep"}, FROM_ATLAS),
    # Peak memory is a result, and that of two workers is not that of one …
    "workers": ({"n_jobs": 2}, {**FROM_EXTRACTION, "extract_regions": WORKERS}),
    "cleaning": ({"cleaning": {"detrend": True}}, FROM_EXTRACTION),
    "one strategy less": ({"strategies": list(STRATEGIES)[1:]}, COMPARE),
    "the order of strategies": ({"strategies": list(STRATEGIES)[::-1]}, COMPARE),
    "other words, and keys for other data": (
        {"strategies": list(STRATEGIES), "n_subjects": 9, "seed": 9, "resolution": 7, "adhd_url": "http://localhost/"},
        {},
    ),
}


@pytest.fixture(scope="module")
def plans_of_changes(continued):
    return side_by_side(lambda name: counts(plan(continued(), config={**COMPLETE, **CHANGES[name][0]})), CHANGES)


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_changed_key(plans_of_changes, name):
    assert plans_of_changes[name] == twice(CHANGES[name][1])


def test_the_number_of_cores_is_no_change(complete_run):
    """… but the cores of a machine are no part of the config: the results stay those of the run that was asked for."""
    assert plan(complete_run.folder, config=COMPLETE, cores=1) == []


def test_a_strategy_more(simulated_run):
    asked = ["--config", "n_subjects=2", "n_volumes=3", "strategies=[numpy_path,shared_memory]"]
    jobs = plan(simulated_run, *asked)
    assert counts(jobs) == {"extract_regions": 1, "compare_memory": 1}
    assert [job.wildcards["strategy"] for job in jobs if job.rule == "extract_regions"] == ["shared_memory"]


# Of the rules for one image with one strategy, which needs no decompressed copy.
ONE_FROM_RUNS = {"concatenate_runs": 1, "extract_regions": 1, "compare_memory": 1}
ONE_FROM_ATLAS = {"place_atlas": 1, "split_masks": 1, "extract_regions": 1, "compare_memory": 1}
SIMULATED = {
    "a subject more": ("n_subjects=3", {"simulate_adhd": 1, **ONE_FROM_RUNS}),
    "longer runs": ("n_volumes=null", {"simulate_adhd": 2, **ONE_FROM_RUNS}),
    "another seed": ("seed=1", {"simulate_adhd": 2, "simulate_atlas": 1, **ONE_FROM_RUNS, **ONE_FROM_ATLAS}),
    "another atlas": ("resolution=36", {"simulate_atlas": 1, **ONE_FROM_ATLAS}),
}


@pytest.fixture(scope="module")
def plans_of_simulations(simulated_run):
    def of_case(name):
        keys = {"n_subjects": 2, "n_volumes": 3, "strategies": "[numpy_path]"} | dict([SIMULATED[name][0].split("=")])
        return counts(plan(simulated_run, "--config", *[f"{key}={value}" for key, value in keys.items()]))

    return side_by_side(of_case, SIMULATED)


@pytest.mark.parametrize("name", list(SIMULATED))
def test_a_changed_simulation(plans_of_simulations, name):
    assert plans_of_simulations[name] == SIMULATED[name][1]


# Where code is added, and what runs again for each image: the rules whose scripts import it, and what follows.
CODE = {
    "roistream/study/run_lengths.py": FROM_RUNS,
    "roistream/memory/measure.py": FROM_EXTRACTION,
    "roistream/strategies/numpy_indexing.py": FROM_EXTRACTION,
    "roistream/figures/style.py": COMPARE,
    "roistream/samples/simulation.py": {},  # nothing is simulated here
    "place_atlas.py": FROM_ATLAS,
    "extract_regions.py": FROM_EXTRACTION,
}
COMMENTED = [
    "roistream/images/volumes.py",
    "roistream/strategies/__init__.py",
    "concatenate_runs.py",
    "split_masks.py",
    "extract_regions.py",
    "measure_memory.py",
]


@pytest.fixture(scope="module")
def plans_of_code(continued, tmp_path_factory):
    """Plan with a copy of the project for each change; the copies' path has a space."""

    def of_case(case):
        project = copy_project(tmp_path_factory.mktemp("projects") / "roistream (my copy)")
        files, added = (COMMENTED, "# A remark.\n") if case == "commented" else ([case], "ADDED = 1\n")
        for file in files:
            with (project / "scripts" / file).open("a", encoding="utf-8") as stream:
                stream.write(f"\n\n{added}")
        return counts(plan(continued(), config=COMPLETE, root=project))

    return side_by_side(of_case, ["commented", *CODE])


@pytest.mark.parametrize("file", list(CODE))
def test_changed_code(plans_of_code, file):
    assert plans_of_code[file] == twice(CODE[file])


def test_a_comment_or_another_place_of_the_project_is_no_change(plans_of_code):
    assert plans_of_code["commented"] == {}


TABLES = {
    "another order of runs": ([("first", "lauf 2 ä.nii"), ("first", "a1.nii.gz"), ("second", "b.nii.gz")], FROM_RUNS),
    "a run less": ([("first", "a1.nii.gz"), ("second", "b.nii.gz")], FROM_RUNS),
    # The rows of the study's table are in the order of the images.
    "another order of images": ([("second", "b.nii.gz"), ("first", "a1.nii.gz"), ("first", "lauf 2 ä.nii")], {}),
    "an image more": (
        [("first", "a1.nii.gz"), ("first", "lauf 2 ä.nii"), ("second", "b.nii.gz"), ("third", "b.nii.gz")],
        {"concatenate_runs": 1, **FROM_MASKS},
    ),
}


@pytest.fixture(scope="module")
def plans_of_inputs(continued):
    def of_case(case):
        folder = continued()
        if case == "touched":
            for file in ("a1.nii.gz", "runs.tsv", "labels.tsv", "atlas.nii.gz"):
                (folder / "Daten 1" / file).touch()
        elif case == "another atlas":
            save_atlas(folder / "Daten 1/atlas.nii.gz", {**BLOCKS, 5: BLOCKS[3], 3: BLOCKS[5]})
        else:
            write_table(folder / "Daten 1/runs.tsv", TABLES[case][0])
        return plan(folder, config=COMPLETE)

    return side_by_side(of_case, ["touched", "another atlas", *TABLES])


@pytest.mark.parametrize("name", list(TABLES))
def test_a_changed_table(plans_of_inputs, name):
    jobs = plans_of_inputs[name]
    assert counts(jobs) == {**TABLES[name][1], **STUDY}
    images = {job.image for job in jobs} - {None}
    assert len(images) == bool(TABLES[name][1]), "the other image is left alone"


def test_an_atlas_with_other_content(plans_of_inputs):
    assert counts(plans_of_inputs["another atlas"]) == twice(FROM_ATLAS)


def test_inputs_that_were_only_touched(plans_of_inputs):
    """Snakemake compares check sums of files up to 1 MB; a large run that was touched would count as changed."""
    assert plans_of_inputs["touched"] == []


def test_a_run_with_other_content(continued):
    """For real: the image of the run is made anew, the other image is left alone."""
    folder = continued()
    config = {**COMPLETE, "strategies": ["numpy_path"]}
    before = states(folder)
    values = np.random.default_rng(3).standard_normal((*GRID, 4)).astype(np.float32)
    save_run(folder / "Daten 1/lauf 2 ä.nii", values, AFFINE, T_R)
    ended = snakemake(folder, config=config)
    assert ended.status == 0, ended.output
    after = states(folder)
    others = {
        folder / name for name in (f"results/{image}/{other}" for image in ("first", "second") for other in STRATEGIES)
    }
    assert set(after) == {
        path
        for path in before
        if path.parts[0] == "logs" or (folder / path).parent not in others or path.parent.name == "numpy_path"
    }, "what was made by strategies that are no longer asked for is gone"
    changed = {str(path) for path in after if after[path] != before[path]}
    assert {path for path in changed if "second" in path} == {
        f"results/second/memory_comparison.{ending}" for ending in ("tsv", "png", "svg")
    } | {"logs/compare_memory/second.log"}, "one strategy is left to compare"
    first = folder / "results/first"
    first_run = np.asarray(nib.load(folder / "Daten 1/a1.nii.gz").dataobj)
    image = np.concatenate([first_run, values], axis=3)
    assert np.array_equal(nib.load(first / "first_bold.nii.gz").dataobj, image)
    for label in COMPLETE["regions"]:
        mask = np.asarray(nib.load(first / f"masks/region-{label}_mask.nii.gz").dataobj) != 0
        assert np.array_equal(np.load(first / f"numpy_path/region-{label}_timeseries.npy"), image[mask].T)
    assert json.loads((first / "numpy_path/memory.json").read_text())["n_volumes"] == 14
    assert "Nothing to be done" in snakemake(folder, config=config).output


def test_nothing_made_with_another_configuration_stays(small_data, tmp_path):
    """Three regions by two strategies, then one of them, cleaned, by one strategy; what the user put there stays."""
    config = {"dataset": small_data.table, "atlas": small_data.atlas, "n_jobs": 1}
    before = {**config, "regions": [1, 2, 3], "strategies": ["numpy_path", "stream"]}
    ended = snakemake(tmp_path, config=before)
    assert ended.status == 0, ended.output
    results = tmp_path / "results/first"
    foreign = [results / name for name in ("numpy_path/notes.txt", "masks/lesion_mask.nii.gz", "mine/memory.json")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    ended = snakemake(
        tmp_path, config={**config, "regions": [2], "strategies": ["stream"], "cleaning": {"detrend": True}}
    )
    assert ended.status == 0, ended.output
    made = {path.relative_to(results) for path in results.rglob("*") if path.is_file()}
    table = [f"memory_comparison.{ending}" for ending in ("tsv", "png", "svg")]
    extraction = ["extraction.json", "memory.json", "memory.tsv", "timeseries.tsv", "region-2_timeseries.npy"]
    expected = [*table, "atlas_dseg.nii.gz", "regions.tsv", *(f"stream/{name}" for name in extraction)]
    assert {str(path) for path in made} == {*expected, *(str(path.relative_to(results)) for path in foreign)}
    assert sorted(path.name for path in (tmp_path / "results/second").iterdir()) == sorted([*expected[:5], "stream"])
    made_with = json.loads((results / "stream/memory.json").read_text())
    assert made_with["cleaning"]["detrend"] is True
    assert made_with["run_lengths"] == [10, 7]
    assert made_with["sources"] == [str(small_data.runs[name]) for name in ("a1", "a2")]
