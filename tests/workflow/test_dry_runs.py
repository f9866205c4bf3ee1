"""A dry run for every value that config.yaml documents: which jobs are planned, and for which files."""

import json
import shlex

import pytest
import yaml

from conftest import ROOT
from roistream.samples import adhd
from roistream.strategies import STRATEGIES
from workflow.conftest import BLOCKS, counts, plan, side_by_side

ALL = list(STRATEGIES)
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
WITHOUT_COPY = {"split_masks": 1, "compare_memory": 1}
PER_IMAGE = {"concatenate_runs": 1, **WITHOUT_COPY}
PER_GRID = {"place_atlas": 1}
STUDY = {"compare_study": 1}


def settings(config):
    """Word a config for the command line, in the way of the documentation: --config key=value."""
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()]
    return ["--config", *words] if words else []


def extraction_by(*strategies):
    """Count the jobs of extracting from one image; some strategies need a decompressed copy of it."""
    copied = any(STRATEGIES[strategy].uncompressed for strategy in strategies)
    return {"extract_regions": len(strategies)} | ({"decompress_image": 1} if copied else {})


DEFAULT_PLAN = {**PER_GRID, **PER_IMAGE, "simulate_adhd": 6, "simulate_atlas": 1, **extraction_by(*ALL)}


def only(jobs, rule):
    """Give the single job of a rule."""
    [job] = [job for job in jobs if job.rule == rule]
    return job


def jobs_of(image, jobs):
    """Keep the jobs of one image."""
    return [job for job in jobs if job.image == image]


def masks_of(jobs):
    """List the labels that get a mask, in order."""
    names = [path.rsplit("/", 1)[1] for path in only(jobs, "split_masks").files("output")]
    return [int(name.removesuffix("_mask.nii.gz").removeprefix("region-")) for name in names if "_mask" in name]


def arrays_of(extraction):
    """List the labels that an extraction writes an array of, in order."""
    names = [path.rsplit("/", 1)[1] for path in extraction.files("output") if path.endswith(".npy")]
    return [int(name.removesuffix("_timeseries.npy").removeprefix("region-")) for name in names]


def strategies_of(jobs):
    return [job.wildcards["strategy"] for job in jobs if job.rule == "extract_regions"]


def runs_of(dataset, n_subjects):
    return [f"resources/{dataset}/{adhd.run_path(subject)}" for subject in adhd.SUBJECT_IDS[:n_subjects]]


def test_the_default(tmp_path):
    jobs = plan(tmp_path, cores=8)
    assert counts(jobs) == DEFAULT_PLAN
    assert only(jobs, "concatenate_runs").files("input") == runs_of("simulated", 6)
    assert masks_of(jobs) == [1, 2, 3, 4, 5, 6]
    assert sorted(strategies_of(jobs)) == sorted(ALL)
    threads = {
        job.wildcards["strategy"]: job.details.get("threads", "1") for job in jobs if job.rule == "extract_regions"
    }
    assert threads == {name: "6" if entry.uses_workers else "1" for name, entry in STRATEGIES.items()}
    assert only(jobs, "compare_memory").files("output") == [
        f"results/large_fmri/memory_comparison.{ending}" for ending in ("tsv", "png", "svg")
    ]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("n_subjects", "n_volumes", "regions", "labels"),
    [(1, None, 1, [1]), (40, 2, [30, 2, 64], [30, 2, 64]), (2, 5, 64, list(range(1, 65)))],
)
def test_subjects_and_regions(tmp_path, n_subjects, n_volumes, regions, labels):
    config = {"n_subjects": n_subjects, "n_volumes": n_volumes, "regions": regions, "n_jobs": 3}
    jobs = plan(tmp_path, *settings(config), "strategies=[numpy_path]", cores=8)
    assert counts(jobs) == {
        **PER_GRID,
        **PER_IMAGE,
        "simulate_adhd": n_subjects,
        "simulate_atlas": 1,
        "extract_regions": 1,
    }
    assert only(jobs, "concatenate_runs").files("input") == runs_of("simulated", n_subjects)
    assert masks_of(jobs) == labels
    extraction = only(jobs, "extract_regions")
    masks = [path for path in extraction.files("input") if "/masks/" in path]
    assert masks == [f"results/large_fmri/masks/region-{label}_mask.nii.gz" for label in labels]
    arrays = [path for path in extraction.files("output") if path.endswith(".npy")]
    assert arrays == [f"results/large_fmri/numpy_path/region-{label}_timeseries.npy" for label in labels]
    assert extraction.details["threads"] == "3"


# Each scale of BASC, and with it another strategy alone.
SCALES = {("basc", scale): ALL[i % len(ALL)] for i, scale in enumerate([7, 12, 20, 36, 64, 122, 197, 325, 444])}
SCALES["simulated", 444] = ALL[-1]


@pytest.fixture(scope="module")
def plans_of_scales(tmp_path_factory):
    def of_scale(case):
        atlas, scale = case
        config = {"atlas": atlas, "resolution": scale, "regions": "all", "strategies": [SCALES[case]]}
        return plan(tmp_path_factory.mktemp(f"{atlas}{scale}"), config=config)

    return side_by_side(of_scale, SCALES)


@pytest.mark.slow
@pytest.mark.parametrize(("atlas", "scale"), list(SCALES))
def test_scales_and_single_strategies(plans_of_scales, atlas, scale):
    jobs = plans_of_scales[atlas, scale]
    rule = {"basc": "fetch_basc", "simulated": "simulate_atlas"}[atlas]
    entry = STRATEGIES[SCALES[atlas, scale]]
    per_image = WITHOUT_COPY if entry.reads_series else PER_IMAGE
    assert counts(jobs) == {**PER_GRID, **per_image, "simulate_adhd": 6, rule: 1, **extraction_by(entry.name)}
    [made] = only(jobs, rule).files("output")
    assert made.startswith(f"resources/{atlas}/")
    assert f"scale{scale:03}" in made
    assert made in only(jobs, "place_atlas").files("input")
    labels = list(range(1, scale + 1))
    assert masks_of(jobs) == (labels if entry.reads_masks else [])
    assert arrays_of(only(jobs, "extract_regions")) == labels
    assert strategies_of(jobs) == [SCALES[atlas, scale]]


def test_every_strategy_was_alone():
    assert set(SCALES.values()) == set(ALL)


def test_adhd(tmp_path):
    config = {"dataset": "adhd", "n_subjects": 30, "data_dir": "somewhere", "adhd_url": "http://localhost:1/"}
    jobs = plan(tmp_path, config=config)
    assert counts(jobs) == {**PER_GRID, **PER_IMAGE, "fetch_adhd": 1, "simulate_atlas": 1, **extraction_by(*ALL)}
    assert only(jobs, "concatenate_runs").files("input") == runs_of("adhd", 30)
    assert set(runs_of("adhd", 30)) < set(only(jobs, "fetch_adhd").files("output"))


def test_own_runs_and_atlas(tmp_path, small_data):
    config = {"dataset": small_data.table, "atlas": small_data.atlas, "regions": "all"}
    jobs = plan(tmp_path, config=config)
    twice = {rule: 2 * number for rule, number in {**PER_IMAGE, **extraction_by(*ALL)}.items()}
    assert counts(jobs) == {**PER_GRID, **twice, **STUDY}
    assert only(jobs, "compare_study").files("output") == [
        f"results/study_memory.{ending}" for ending in ("tsv", "png", "svg")
    ]
    assert len(only(jobs, "compare_study").files("input")) == 2 * len(ALL)
    inputs = {job.image: job.files("input") for job in jobs if job.rule == "concatenate_runs"}
    runs = {name: str(path) for name, path in small_data.runs.items()}
    assert inputs == {"first": [runs["a1"], runs["a2"]], "second": [runs["b"]]}
    first = jobs_of("first", jobs)
    assert str(small_data.atlas) in only(jobs, "place_atlas").files("input")
    assert masks_of(first) == list(BLOCKS)


def test_names_give_the_order_of_regions(tmp_path, small_data):
    table = tmp_path / "labels.tsv"
    table.write_text("name\tindex\tcolour\nrear\t13\tred\nbackground\t0\tnone\nfront\t2\tblue\nside\t1\tgreen\n")
    config = {"dataset": small_data.table, "atlas": small_data.atlas, "atlas_labels": table, "regions": 2}
    assert masks_of(jobs_of("first", plan(tmp_path, config=config))) == [13, 2]


def test_a_label_that_the_atlas_has_not_may_be_kept(tmp_path, small_data):
    config = {"dataset": small_data.table, "atlas": small_data.atlas, "regions": [1, 99], "empty_regions": "keep"}
    assert masks_of(jobs_of("first", plan(tmp_path, config=config))) == [1, 99]


# Cleaning, the options of extract_regions.py that it becomes, whether confounds are given, and whether runs are told apart.
CLEANING = {
    "none": (
        {"smoothing_fwhm": None, "detrend": False, "standardize": None, "low_pass": None, "confounds": False},
        "--no-detrend",
        False,
        True,
    ),
    "each run by itself": (
        {
            "detrend": True,
            "standardize": "psc",
            "low_pass": 0.1,
            "high_pass": 0.01,
            "t_r": 2.5,
            "confounds": True,
            "confound_columns": ["csf", "motion-*", "compcor[1-3]", "[g']lobal"],
        },
        "--detrend --standardize psc --low-pass 0.1 --high-pass 0.01 --t-r 2.5 "
        "--confound-columns csf 'motion-*' 'compcor[1-3]' \"[g']lobal\" --unmatched-patterns warn",
        True,
        True,
    ),
    "all as one": (
        {
            "smoothing_fwhm": 6,
            "standardize": "zscore_sample",
            "standardize_confounds": False,
            "confounds": True,
            "per_run": False,
        },
        "--smoothing-fwhm 6 --standardize zscore_sample --no-standardize-confounds",
        True,
        False,
    ),
}


@pytest.mark.parametrize("name", list(CLEANING))
def test_cleaning(tmp_path, name):
    cleaning, options, with_confounds, with_runs = CLEANING[name]
    config = {"cleaning": cleaning, "strategies": ["stream"], "n_subjects": 2, "n_volumes": None}
    extraction = only(plan(tmp_path, "--printshellcmds", *settings(config)), "extract_regions")
    given = shlex.split(extraction.command.split("--n-jobs 1", 1)[1].split("2>&1")[0])
    confounds = [f"resources/simulated/{adhd.confounds_path(subject)}" for subject in adhd.SUBJECT_IDS[:2]]
    expected = shlex.split(options) + ["--confounds", *confounds] * with_confounds
    assert given == expected + ["--no-per-run"] * (not with_runs)
    assert set(confounds) & set(extraction.files("input")) == (set(confounds) if with_confounds else set())
    config["strategies"] = ["nifti_masker_path"]
    extraction = only(plan(tmp_path, "--printshellcmds", *settings(config)), "extract_regions")
    given = shlex.split(extraction.command.split("--n-jobs 2", 1)[1].split("2>&1")[0])
    table = ["--runs", "results/large_fmri/runs.tsv"]
    assert given == expected + (table if with_runs else ["--no-per-run"])


def test_stream_alone_reads_the_runs_themselves(tmp_path, small_data):
    """No copy, no mask; and as many at a time as there are cores."""
    config = {"dataset": small_data.table, "atlas": small_data.atlas, "regions": [5, 1], "strategies": ["stream"]}
    jobs = plan(tmp_path, "--printshellcmds", config=config, cores=6)
    twice = {rule: 2 * number for rule, number in {**WITHOUT_COPY, **extraction_by("stream")}.items()}
    assert counts(jobs) == {**PER_GRID, **twice, **STUDY}
    first = jobs_of("first", jobs)
    assert only(first, "split_masks").files("output") == [
        f"results/first/{name}" for name in ("atlas_dseg.nii.gz", "regions.tsv")
    ]
    extraction = only(first, "extract_regions")
    runs = [str(small_data.runs[name]) for name in ("a1", "a2")]
    assert [path for path in extraction.files("input") if path in runs] == runs
    words = shlex.split(extraction.command)
    start = words.index("--image")
    assert words[start + 1 : start + 5] == [*runs, "--atlas", "results/first/atlas_dseg.nii.gz"]
    assert arrays_of(extraction) == [5, 1]
    assert extraction.details.get("threads", "1") == "1"


def test_every_key_in_both_ways(tmp_path, small_data):
    config = {
        "dataset": "adhd",
        "n_subjects": 5,
        "n_volumes": None,
        "seed": 4,
        "atlas": "basc",
        "atlas_labels": None,
        "atlas_options": {},
        "resolution": 122,
        "regions": [100, 3],
        "empty_regions": "keep",
        "strategies": ["shared_memory", "numpy_path"],
        "n_jobs": 2,
        "memory_shortage": "warn",
        "cleaning": {"detrend": True, "low_pass": 0.1},
        "atlas_name": "BASC2015",
        "statistics": ["median", "mean"],
        "save_voxels": True,
        "connectivity": ["correlation"],
        "covariance_estimator": "empirical",
        "fisher_z": True,
        "parquet": True,
        "min_coverage": 0.5,
        "missing_orientation": "guess",
        "data_dir": "nilearn's data",
        "adhd_url": "https://localhost/mirror",
    }
    assert set(config) == set(DEFAULTS), "a new key belongs here and into a test of its own"
    assert [key for key in config if config[key] == DEFAULTS[key]] == ["atlas_labels", "atlas_options"], (
        "neither goes with this atlas"
    )
    by_file = plan(tmp_path, config=config)
    by_command_line = plan(tmp_path, *settings(config))
    assert sorted(job.details["output"] for job in by_file) == sorted(job.details["output"] for job in by_command_line)
    assert counts(by_file) == {**PER_GRID, **PER_IMAGE, "fetch_adhd": 1, "fetch_basc": 1, "extract_regions": 2}
    assert masks_of(by_command_line) == [100, 3]


STUDY_KEYS = {
    "n_subjects": 3,
    "atlas": "basc",
    "resolution": 36,
    "regions": [30, 3],
    "atlas_name": "Cambridge36",
    "statistics": ["median", "mean"],
    "save_voxels": True,
    "cleaning": {"detrend": True, "confounds": True, "confound_columns": ["csf", "motion-*"], "per_run": False},
    "memory_shortage": "warn",
}


def test_a_study_of_a_sample(tmp_path):
    """Each subject is an image; nothing of the comparison is made."""
    by_file = plan(tmp_path, "timeseries", "--printshellcmds", config=STUDY_KEYS)
    by_command_line = plan(tmp_path, "timeseries", "--printshellcmds", *settings(STUDY_KEYS))
    assert counts(by_file) == {
        "simulate_adhd": 3,
        "fetch_basc": 1,
        "place_atlas": 1,
        "extract_timeseries": 3,
        "summarise_study": 1,
    }
    words_of_file, words_of_line = (
        sorted(sorted(shlex.split(job.command)) for job in jobs) for jobs in (by_file, by_command_line)
    )
    assert words_of_file == words_of_line, "in some order: that of the keys"
    extractions = [job for job in by_command_line if job.rule == "extract_timeseries"]
    for subject, job in zip(adhd.SUBJECT_IDS[:3], sorted(extractions, key=lambda job: job.image), strict=True):
        prefix = f"derivatives/roistream/sub-{subject}/func/sub-{subject}_task-rest_atlas-Cambridge36"
        endings = [
            "stat-median_timeseries.tsv",
            "stat-mean_timeseries.tsv",
            "stat-median_timeseries.json",
            "stat-mean_timeseries.json",
            "stat-coverage_bold.tsv",
            "voxels.npy",
            "voxels.tsv",
        ]
        assert job.files("output") == [f"{prefix}_{ending}" for ending in endings]
        words = shlex.split(job.command)
        options = words[words.index("--statistics") : words.index("--log")]
        confounds = f"resources/simulated/{adhd.confounds_path(subject)}"
        assert options == shlex.split(
            "--statistics median mean --save-voxels --detrend --confound-columns csf 'motion-*' --no-per-run "
            f"--unmatched-patterns warn --confounds {confounds} --memory-shortage warn"
        )
        assert job.details["threads"] == "1" if "threads" in job.details else True
    assert "--regions '[30, 3]'" in only(by_file, "place_atlas").command


def test_a_study_of_own_runs(tmp_path, small_data):
    """Two images on one grid, one of them of two runs: nothing is concatenated or split."""
    jobs = plan(
        tmp_path, "timeseries", config={"dataset": small_data.table, "atlas": small_data.atlas, "regions": "all"}
    )
    assert counts(jobs) == {"place_atlas": 1, "extract_timeseries": 2, "summarise_study": 1}
    runs = {job.image: job.files("input")[:-4] for job in jobs if job.rule == "extract_timeseries"}
    paths = {name: str(path) for name, path in small_data.runs.items()}
    assert runs == {"first": [paths["a1"], paths["a2"]], "second": [paths["b"]]}
    assert len(only(jobs, "summarise_study").files("output")) == 5


@pytest.mark.parametrize("choice", ["error", "warn"])
def test_shortage_of_memory(tmp_path, choice):
    config = {"memory_shortage": choice, "strategies": ["stream"]}
    extraction = only(plan(tmp_path, "--printshellcmds", *settings(config)), "extract_regions")
    assert f" --memory-shortage {choice} " in extraction.command


def test_the_command_line_beats_the_file_and_both_beat_the_default(tmp_path):
    jobs = plan(tmp_path, "--config", "regions=2", config={"regions": 3, "n_subjects": 2})
    assert masks_of(jobs) == [1, 2]
    assert counts(jobs) == {**DEFAULT_PLAN, "simulate_adhd": 2}
