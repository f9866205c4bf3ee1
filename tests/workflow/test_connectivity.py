"""Matrices of a study and its Parquet files: beside a broken image, and after a change of what is asked for."""

import shutil

import numpy as np
import pandas as pd
import pytest

from roistream.study.connectivity import connect
from roistream.study.derivatives import image_prefix, image_stem
from roistream.study.matrices import read_matrix
from roistream.study.signals import read_signals
from workflow.conftest import assert_no_traceback, counts, plan, snakemake
from workflow.test_timeseries import ATLAS, save_study, started, states
from workflow.test_timeseries import CONFIG as SIGNALS

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

CONFIG = {**SIGNALS, "connectivity": ["correlation", "precision"], "parquet": True}
KINDS = {"correlation": "stat-pearsoncorrelation", "precision": "stat-precision"}


def path_of(folder, image, ending):
    return folder / f"{image_prefix(image, ATLAS)}_{ending}"


def matrices(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*_relmat.*")}


def in_parquet(folder):
    """List the images in the files for machine learning: those of the signals and those of connectivity."""
    made = folder / "derivatives/roistream"
    rows = pd.read_parquet(made / "study_connectivity.parquet")["image"]
    return set(pd.read_parquet(made / "study_timeseries")["image"]), set(rows)


def expected_matrices(images, kinds):
    return {
        f"{image_prefix(image, ATLAS)}_{KINDS[kind]}_relmat.{ending}"
        for image in images
        for kind in kinds
        for ending in ("tsv", "json")
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Run a study of six images, of which one is broken."""
    folder = tmp_path_factory.mktemp("connectivity") / "a study"
    runs = save_study(folder / "my data", 6)
    ended = snakemake(folder, "timeseries", "--keep-going", config=CONFIG)
    return folder, list(map(image_stem, runs)), ended, matrices(folder), in_parquet(folder)


@pytest.fixture(scope="module")
def repaired(study):
    folder = study[0]
    shutil.copy(folder / "my data/whole.nii.gz", folder / "my data/cut.nii.gz")
    return snakemake(folder, "timeseries", config=CONFIG), matrices(folder)


def test_a_broken_image_costs_no_other_its_matrices(study):
    folder, images, ended, made, together = study
    assert ended.status == 1
    assert_no_traceback(folder, ended)
    others = [image for image in images if image != "cut"]
    assert made == expected_matrices(others, KINDS)
    assert together == (set(others), set(others))


def test_all_have_their_matrices_when_it_is_repaired(study, repaired):
    folder, images, *_ = study
    ended, made = repaired
    assert ended.status == 0, ended.output
    assert {rule: started(ended.output, rule) for rule in ("extract_timeseries", "connect_regions")} == {
        "extract_timeseries": 1,
        "connect_regions": 1,
    }
    assert made == expected_matrices(images, KINDS)
    assert in_parquet(folder) == (set(images), set(images))
    for image in images:
        signals = read_signals(path_of(folder, image, "stat-mean_timeseries.tsv"))
        for kind, name in KINDS.items():
            names, matrix = read_matrix(path_of(folder, image, f"{name}_relmat.tsv"))
            assert names == signals.names
            np.testing.assert_allclose(matrix, connect(signals, kind), rtol=0, atol=1e-12)
    assert plan(folder, "timeseries", config=CONFIG) == []


def test_another_choice_of_matrices_extracts_nothing(study, repaired):
    planned = plan(study[0], "timeseries", config={**CONFIG, "fisher_z": True})
    assert counts(planned) == {"connect_regions": 1, "write_parquet": 1, "summarise_study": 1}


def test_what_is_not_asked_for_any_more_goes(study, repaired):
    folder, images, *_ = study
    before = states(folder)
    ended = snakemake(folder, "timeseries", config={**CONFIG, "connectivity": ["precision"], "parquet": False})
    assert ended.status == 0, ended.output
    assert matrices(folder) == expected_matrices(images, ["precision"])
    assert not list(folder.glob("derivatives/roistream/study_*"))
    after = states(folder)
    assert not [path for path in before if path.name.endswith("timeseries.tsv") and before[path] != after[path]]
    assert counts(plan(folder, "timeseries", config=SIGNALS)) == {"summarise_study": 1}
    ended = snakemake(folder, "timeseries", config=SIGNALS)
    assert ended.status == 0, ended.output
    assert matrices(folder) == set()
    planned = plan(folder, "timeseries", config={**CONFIG, "connectivity": ["precision"]})
    assert counts(planned) == {"connect_regions": 1, "write_parquet": 1, "summarise_study": 1}
