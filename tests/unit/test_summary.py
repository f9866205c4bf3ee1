"""A study at a glance: its table, its figure, and what does not belong to it any more."""

import json

import numpy as np
import pytest
from PIL import Image

from conftest import read_table
from roistream.errors import UserError
from roistream.figures.study import draw_study, study_title
from roistream.regions.coverage import Region, write_regions
from roistream.study.summary import COLUMNS, StudyRow, last_error, remove_outdated, summarise_image
from summarise_study import summarise_study

REGIONS = [Region(3, "größer", 10, 9, 1.0, "ok"), Region(1, "nan", 5, 0, 0.0, "empty")]
ENDINGS = ("stat-mean_timeseries.tsv", "stat-coverage_bold.tsv", "voxels.npy", "voxels.tsv")


def save_results(study, image, fingerprint="now", folder=None, statistic="mean", **content):
    """Save what an extraction leaves of an image; of the tables only that they are there."""
    folder = study / (folder or image)
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        "Fingerprint": fingerprint,
        "Runs": [],
        "NumberOfVolumes": 20,
        "RepetitionTime": 2.5,
        "NumberOfRegions": 2,
        "RegionsMissing": ["nan"],
        "LeastCoverage": 0.987654321,
        "ValuesNotFinite": 7,
        "ConstantVoxels": 0,
        "ConstantRegions": ["a", "b", "c"],
        "PredictedPeakMiB": 50.1,
        "MeasuredPeakMiB": 48.25,
        "Seconds": 1.5,
        **content,
    }
    for ending in ENDINGS:
        (folder / f"{image}_atlas-A_{ending}").write_text("")
    sidecar = folder / f"{image}_atlas-A_stat-{statistic}_timeseries.json"
    sidecar.write_text(json.dumps(known))
    return sidecar


@pytest.fixture
def study(tmp_path):
    return tmp_path / "derivatives" / "roistream"


def names(study):
    return {path.name for path in study.rglob("*") if path.is_file()}


def test_an_image_that_is_done(study):
    row = summarise_image("one", save_results(study, "one"), study / "none.log")
    assert row == StudyRow(*("one", "done", 20, None, None, 2.5, 2, 1, None, 0.987654321, 7, 0, 3, 50.1, 48.25, 1.5))


def test_an_image_that_keeps_too_few_volumes(study):
    told = {"NumberOfVolumesKept": 5, "MeanFramewiseDisplacement": 0.25, "TooFewVolumes": ["run keeps 5 of 20 volumes"]}
    sidecar = save_results(study, "one", **told, RegionsLowCoverage=["nan", "b"], Remarks=["odd"])
    row = summarise_image("one", sidecar, study / "none.log")
    assert (row.status, row.n_volumes, row.n_volumes_kept, row.mean_framewise_displacement) == ("short", 20, 5, 0.25)
    assert row.n_regions_low_coverage == 2
    assert row.remarks == "run keeps 5 of 20 volumes; odd"
    assert row.seconds == 1.5


def test_an_image_that_is_to_be_made_again(study):
    sidecar = save_results(study, "one")
    row = summarise_image("one", sidecar, study / "none.log", pending=True)
    assert (row.status, row.n_volumes) == ("outdated", None)
    assert "not made again yet" in row.reason
    assert summarise_image("two", study / "two.json", study / "none.log", pending=True).status == "missing"


def test_what_a_sidecar_does_not_say_is_not_known(study):
    sidecar = save_results(study, "one")
    content = json.loads(sidecar.read_text())
    del content["RepetitionTime"], content["MeasuredPeakMiB"]
    sidecar.write_text(json.dumps(content))
    row = summarise_image("one", sidecar, study / "none.log")
    assert (row.t_r, row.peak_mib, row.seconds) == (None, None, 1.5)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"RepetitionTime": 2}', "\0"])
def test_a_file_that_is_no_sidecar(study, text):
    sidecar = save_results(study, "one")
    sidecar.write_text(text)
    with pytest.raises(UserError, match=r"one_atlas-A_stat-mean_timeseries\.json .*delete it, and run again"):
        summarise_image("one", sidecar, study / "none.log")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (None, "not begun"),
        ("INFO: begun\nERROR: first\nERROR: a.nii.gz ends early; copy it.\n", "a.nii.gz ends early; copy it."),
        ("INFO: begun\nTerminated\n", "ended without a word, as when memory runs out and the kernel kills it, see {}"),
        ("", "ended without a word, as when memory runs out and the kernel kills it, see {}"),
    ],
)
def test_the_last_words_of_a_log(tmp_path, log, reason):
    path = tmp_path / "a.log"
    if log is not None:
        path.write_text(log)
    assert last_error(path) == reason.format(path)


def summarise(tmp_path, study, images, **options):
    write_regions(REGIONS, tmp_path / "regions.tsv")
    summarise_study(study, "A", tmp_path / "regions.tsv", images=images, logs=tmp_path / "logs", **options)
    return read_table(study / "study.tsv")


def test_all_files_of_a_study(tmp_path, study, caplog):
    save_results(study, "sub-01_ses-1", folder="sub-01/ses-1/func")
    save_results(study, "pilot", LeastCoverage=1.0)
    (tmp_path / "logs/broken").mkdir(parents=True)
    (tmp_path / "logs/broken/broken.log").write_text("ERROR: broken.nii.gz ends early.\n")
    table = summarise(tmp_path, study, ["sub-01_ses-1_bold", "pilot", "broken", "later"], source="simulated")
    assert list(table) == COLUMNS
    assert table["image"].tolist() == ["sub-01_ses-1", "pilot", "broken", "later"]
    assert table["status"].tolist() == ["done", "done", "missing", "missing"]
    assert table["reason"].tolist()[2:] == ["broken.nii.gz ends early.", "not begun"]
    assert table["least_coverage"].tolist()[:2] == [0.987654, 1]
    assert table.loc[2:, "n_volumes":"seconds"].isna().all(axis=None)
    assert "broken has no results: broken.nii.gz ends early." in caplog.text
    assert (study / "atlas-A_dseg.tsv").read_text("utf-8") == "index\tname\n3\tgrößer\n1\tnan\n"
    assert json.loads((study / "dataset_description.json").read_text())["SourceDatasets"] == [{"URL": "simulated"}]
    assert "*_timeseries.tsv" in (study / ".bidsignore").read_text().splitlines()
    with Image.open(study / "study.png") as figure:
        figure.load()
        assert figure.width > 2 * figure.height
        assert len(np.unique(np.asarray(figure.convert("L")))) > 10


def test_the_images_of_a_runs_table(tmp_path, study):
    save_results(study, "one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/runs.tsv").write_text("run\timage\na.nii\tone\nb.nii\tone_x\nc.nii\tone\n")
    table = summarise(tmp_path, study, [], runs_table=tmp_path / "data/runs.tsv")
    assert table["image"].tolist() == ["one", "one_x"]
    description = json.loads((study / "dataset_description.json").read_text())
    assert description["SourceDatasets"] == [{"URL": str(tmp_path / "data")}]


def test_many_images_without_results_are_not_all_told(tmp_path, study, caplog):
    caplog.set_level("INFO")
    table = summarise(tmp_path, study, [f"image-{number}" for number in range(50)])
    assert len(table) == 50
    assert caplog.text.count(" has no results: not begun.") == 20
    assert "30 more images have no results; study.tsv names them." in caplog.text
    assert "0 of 50 image(s) done." in caplog.text


# The figure.


def rows(n_images, **changes):
    rng = np.random.default_rng(3)
    return [
        StudyRow(
            f"image-{number}",
            "done",
            **{
                "n_volumes": 200,
                "n_regions": 64,
                "least_coverage": float(rng.uniform(0.6, 1)),
                "predicted_mib": 55.0,
                "peak_mib": float(rng.normal(52, 1)),
                "seconds": float(rng.uniform(1, 2)),
                **changes,
            },
        )
        for number in range(n_images)
    ]


def test_panels_show_each_image_once():
    figure = draw_study(rows(30), "A")
    coverage, memory, seconds = figure.axes
    for axes, lines in ((coverage, 1), (memory, 2), (seconds, 1)):
        assert [len(line.get_xdata()) for line in axes.lines] == [30] * lines
        assert list(axes.lines[-1].get_xdata()) == sorted(axes.lines[-1].get_xdata())
        assert axes.get_xlabel()
    assert [text.get_text() for text in memory.get_legend().get_texts()] == ["predicted", "measured"]


@pytest.mark.parametrize(
    "some", [[], rows(1), rows(2, peak_mib=None), rows(60), [StudyRow("a", "missing", reason="b")]]
)
def test_any_study_can_be_drawn(some):
    figure = draw_study(some, "A")
    figure.canvas.draw()
    for axes in figure.axes:
        assert all(len(line.get_xdata()) == len(line.get_ydata()) for line in axes.lines)


def test_titles():
    missing = StudyRow("b", "missing")
    assert study_title([*rows(2), missing], "BASC064") == "64 regions of BASC064 in 3 images, 1 of them without results"
    assert study_title(rows(1, n_regions=1), "A") == "1 region of A in 1 image"


# What does not belong to a study any more.


def test_results_of_other_images_of_another_configuration_are_removed(study, caplog):
    save_results(study, "one")
    save_results(study, "sub-2", "before", folder="sub-2/func")
    (study / "sub-2/func/notes.txt").write_text("mine")
    (study / "sub-2/func/sub-2_atlas-B_stat-mean_timeseries.tsv").write_text("another atlas's")
    removed = remove_outdated(study, "A", ["one"])
    assert {path.name for path in removed} == {f"sub-2_atlas-A_{ending}" for ending in ENDINGS} | {
        "sub-2_atlas-A_stat-mean_timeseries.json"
    }
    assert {name for name in names(study) if not name.startswith("one")} == {
        "notes.txt",
        "sub-2_atlas-B_stat-mean_timeseries.tsv",
    }
    assert "5 file(s) of images that are not in this study" in caplog.text
    assert remove_outdated(study, "A", ["one"]) == []


def test_those_of_the_same_configuration_stay(study):
    """A study may be run in parts."""
    save_results(study, "one")
    save_results(study, "two")
    assert remove_outdated(study, "A", ["one"]) == []


def test_those_of_the_own_images_are_left_to_their_jobs(study):
    save_results(study, "one", "before")
    save_results(study, "two")
    assert remove_outdated(study, "A", ["one", "two"]) == []


def test_an_image_that_has_both_is_outdated(study):
    save_results(study, "one")
    save_results(study, "two", "before", statistic="median")
    save_results(study, "two")
    assert "two_atlas-A_stat-median_timeseries.json" in {path.name for path in remove_outdated(study, "A", ["one"])}
    assert not any(name.startswith("two") for name in names(study))


def test_nothing_is_removed_where_nothing_is_current(study):
    """No image of the study has results yet: it cannot be told what is outdated."""
    save_results(study, "two", "before")
    assert remove_outdated(study, "A", ["one"]) == []
