"""Where the TR of a run comes from: table, option, sidecars, header; and when a filter may rely on it."""

import json
import struct

import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from concatenate_runs import concatenate_runs
from conftest import AFFINE, GRID, ROOT, run_script, save_mask, save_run
from list_bids_runs import list_bids_runs
from roistream.cleaning.prepare import prepare_cleaning
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.repetition_time import LONGEST, SHORTEST, Statement, header_says, settle
from roistream.images.series import open_series, repetition_time
from roistream.images.sidecars import Sidecars
from roistream.study.filters import check_filters, tell_times
from roistream.study.plan import make_plan
from roistream.study.run import join_volumes
from roistream.study.runs import read_runs_table

SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "runs.schema.yaml").read_text("utf-8"))
SEC, MSEC, USEC, HZ, PPM, RADS = 8, 16, 24, 32, 40, 48
DATA = np.zeros((2, 2, 2, 40), np.float32)


def save(path, t_r=2.0, unit=SEC, data=DATA):
    """Save a run whose header has this TR and unit, whatever they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_run(path, data)
    content = bytearray(path.read_bytes())
    content[92:96], content[123] = struct.pack("<f", t_r), 2 | unit
    path.write_bytes(content)
    return path


def say(path, value=2.0, key="RepetitionTime"):
    """Write a sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: value, "TaskName": "rest"}))
    return path


def time_of(*paths, **said):
    return repetition_time([inspect(path) for path in paths], **said)


# What a header says


@settings(max_examples=200, deadline=None)
@given(
    st.floats(width=32, allow_subnormal=True),
    st.integers(0, 255),
    st.integers(1, 7),
)
def test_a_header_gives_a_possible_number_or_says_why_not(step, units, n_axes):
    found = header_says(n_axes, step, units)
    if n_axes < 4 or step == 0:
        assert not found
        assert settle(found).problem
        return
    per_second = {SEC: 1, MSEC: 1e3, USEC: 1e6}.get(units & 0x38)
    seconds = step / (per_second or 1)
    if found.seconds is not None:
        assert SHORTEST <= found.seconds <= LONGEST
        assert found.seconds == pytest.approx(seconds, rel=1e-6)
        assert units & 0x38 in (0, SEC, MSEC, USEC)
    else:
        assert found.doubt
    assert bool(found.doubt) == (per_second is None or not SHORTEST * 0.999999 <= seconds <= LONGEST) or (
        seconds == pytest.approx(SHORTEST) or seconds == pytest.approx(LONGEST)
    )
    assert settle(found).problem == (str(found) if found.doubt else "")


@pytest.mark.parametrize(
    ("step", "unit", "seconds", "says"),
    [
        (2.52, SEC, 2.52, ""),
        (0.05, SEC, 0.05, ""),
        (30, SEC, 30.0, ""),
        (720, MSEC, 0.72, ""),
        (800_000, USEC, 0.8, ""),
        (2, MSEC, None, "says 2 ms, which is outside of 0.05 to 30 s"),
        (2000, SEC, None, "says 2000 s, which is outside"),
        (-2, SEC, None, "says -2 s, which is outside"),
        (float("nan"), SEC, None, "says nan s"),
        (float("inf"), SEC, None, "says inf s"),
        (1e-38, SEC, None, "which is outside"),
        (0.5, HZ, None, "says 0.5 Hz, which is no time"),
        (2, PPM, None, "says 2 ppm, which is no time"),
        (2, RADS, None, "says 2 rad/s, which is no time"),
        (2, 56, None, "says 2 of the unit 56, which is no time"),
        (2, 0, 2.0, "says 2 without a unit of time"),
        (2000, 0, None, "says 2000 without a unit of time"),
    ],
)
def test_what_a_file_says(tmp_path, step, unit, seconds, says):
    time = time_of(save(tmp_path / "run.nii", step, unit))
    assert time.seconds == seconds
    assert (says in time.problem) if says else not time.problem
    assert bool(time.remarks) == bool(says)


def test_nifti_2_and_big_endian(tmp_path):
    for name, header in {"two": nib.Nifti2Header(endianness=">"), "one": nib.Nifti1Header(endianness=">")}.items():
        header.set_data_shape((2, 2, 2, 3))
        header.set_data_dtype(np.float32)
        header.set_zooms((3, 3, 3, 1333))
        header.set_xyzt_units("mm", "msec")
        kind = nib.Nifti2Image if name == "two" else nib.Nifti1Image
        kind(np.zeros((2, 2, 2, 3), ">f4"), AFFINE, header).to_filename(tmp_path / f"{name}.nii")
        assert time_of(tmp_path / f"{name}.nii").seconds == 1.333


# Who wins

SECONDS = st.one_of(st.none(), st.sampled_from([1.0, 2.0, 2.0005, 3.0]))


@given(table=SECONDS, option=SECONDS, sidecar=SECONDS, header=SECONDS)
def test_the_most_explicit_is_taken_and_others_are_told(table, option, sidecar, header):
    said = {"runs table": table, "option t_r": option, "sidecar": sidecar, "header": header}
    time = settle(*(Statement(source, seconds) for source, seconds in said.items()))
    given = [(source, seconds) for source, seconds in said.items() if seconds is not None]
    if not given:
        assert (time.seconds, time.source) == (None, None)
        assert time.problem
        assert len(time.remarks) == 1
        return
    assert (time.source, time.seconds) == given[0]
    others = [seconds for _, seconds in given[1:] if abs(seconds - time.seconds) > 0.01]
    assert len(time.remarks) == len(others)
    assert bool(time.problem) == (time.source == "sidecar" and bool(others))


def test_a_sidecar_settles_what_a_header_cannot_say(tmp_path):
    for unit, step in ((MSEC, 2), (HZ, 0.5), (0, 1), (SEC, 0), (SEC, 2000)):
        run = save(tmp_path / f"{unit}-{step}.nii", step, unit)
        say(run.with_suffix(".json"), 2.0)
        time = time_of(run)
        assert (time.seconds, time.problem) == (2.0, "")
        assert time.source == f"sidecar {run.stem}.json"
        assert len(time.remarks) == bool(step)


def test_a_sidecar_against_a_header_is_for_a_person_to_settle(tmp_path):
    run = save(tmp_path / "run.nii", 1.0)
    say(tmp_path / "run.json", 2.0)
    assert time_of(run).seconds == 2.0
    assert "its sidecar says 2 s, but its header says 1 s" in time_of(run).problem
    assert prepare_cleaning(inspect(run), {"detrend": True}).t_r == 2.0
    with pytest.raises(UserError, match=r"run\.nii cannot be filtered without a TR to rely on: its sidecar says 2 s"):
        prepare_cleaning(inspect(run), {"high_pass": 0.02})
    settled = prepare_cleaning(inspect(run), {"high_pass": 0.02, "t_r": 1.0})
    assert (settled.t_r, settled.t_r_source) == (1.0, "option t_r")


@pytest.mark.parametrize("t_r", [0.049, 31, 2000, -1, float("nan")])
def test_nobody_can_say_what_is_impossible(tmp_path, t_r):
    with pytest.raises(UserError, match=r"^t_r is .* s, which is outside of 0\.05 to 30 s; "):
        time_of(save(tmp_path / "run.nii"), t_r=t_r)


# Sidecars

BIDS = "sub-01/ses-2/func/sub-01_ses-2_task-rest_run-1_space-MNI_desc-preproc_bold"


@pytest.mark.parametrize(
    "sidecar",
    [
        f"{BIDS}.json",
        "sub-01/ses-2/func/sub-01_ses-2_task-rest_run-1_bold.json",
        "sub-01/ses-2/sub-01_ses-2_task-rest_bold.json",
        "sub-01/sub-01_task-rest_bold.json",
        "task-rest_bold.json",
        "task-rest_desc-preproc_bold.json",
        "bold.json",
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII", ".hdr"])
def test_inherited(tmp_path, sidecar, ending):
    say(tmp_path / sidecar, 1.5)
    say(tmp_path.parent / "task-rest_bold.json", 9)  # outside of the dataset
    found = Sidecars().say(tmp_path / f"{BIDS}{ending}")
    (tmp_path.parent / "task-rest_bold.json").unlink()
    assert (found.seconds, found.file) == (1.5, sidecar.rpartition("/")[2])


@pytest.mark.parametrize(
    "sidecar",
    [
        "sub-01/ses-2/func/sub-01_ses-2_task-rest_run-2_bold.json",
        "sub-01/ses-2/func/sub-01_ses-2_task-rest_run-1_sbref.json",
        "sub-01/ses-1/sub-01_ses-1_task-rest_bold.json",
        "task-nback_bold.json",
        "task-rest_events.json",
        "task-rest_acq-x_bold.json",
        "task-rest_bold.JSON.txt",
        "dataset_description.json",
    ],
)
def test_not_inherited(tmp_path, sidecar):
    say(tmp_path / sidecar, 1.5)
    assert not Sidecars().say(tmp_path / f"{BIDS}.nii.gz")


def test_what_is_nearer_comes_first(tmp_path):
    say(tmp_path / "task-rest_bold.json", 3.0)
    say(tmp_path / "task-rest_run-1_bold.json", 2.0)
    assert Sidecars().say(tmp_path / f"{BIDS}.nii").seconds == 2.0, "at one level the more specific"
    say(tmp_path / "sub-01/sub-01_task-rest_bold.json", 1.0)
    assert Sidecars().say(tmp_path / f"{BIDS}.nii").seconds == 1.0
    say(tmp_path / f"{BIDS}.json", None)
    assert Sidecars().say(tmp_path / f"{BIDS}.nii").seconds == 1.0, "one that says nothing is passed over"
    say(tmp_path / f"{BIDS}.json", 0.8)
    assert Sidecars().say(tmp_path / f"{BIDS}.nii").seconds == 0.8


def test_two_at_one_level_that_differ(tmp_path):
    say(tmp_path / "task-rest_bold.json", 3.0)
    say(tmp_path / "run-1_bold.json", 2.0)
    found = Sidecars().say(tmp_path / f"{BIDS}.nii")
    assert found.seconds is None
    assert found.doubt == "says 2 s, task-rest_bold.json 3 s"


def test_a_name_that_is_not_of_bids_has_its_own_sidecar_only(tmp_path):
    say(tmp_path / "bold.json")
    say(tmp_path / "my_bold.json", 1.0)
    assert not Sidecars().say(tmp_path / "his_bold.nii.gz")
    assert Sidecars().say(tmp_path / "my_bold.nii.gz").seconds == 1.0


def test_relative_paths_and_links(tmp_path, monkeypatch):
    run = save(tmp_path / f"data/{BIDS}.nii")
    say(tmp_path / "data/task-rest_bold.json", 1.5)
    monkeypatch.chdir(run.parent)
    assert Sidecars().say(inspect(run.name).path).seconds == 1.5
    link = tmp_path / "elsewhere.nii"
    link.symlink_to(run)
    assert Sidecars().say(link).seconds == 1.5, "what lies beside the file"
    say(tmp_path / "elsewhere.json", 2.5)
    assert Sidecars().say(link).seconds == 2.5, "what lies beside the link comes first"


@pytest.mark.parametrize(
    ("content", "seconds", "doubt"),
    [
        (b'{"RepetitionTime": 2}', 2.0, ""),
        (b'\xef\xbb\xbf{"RepetitionTime": 0.8}', 0.8, ""),
        ('{"RepetitionTime": 0.8}'.encode("utf-16"), 0.8, ""),
        ('{"InstitutionName": "Universität", "RepetitionTime": 0.8}'.encode("latin-1"), 0.8, ""),
        (b'{"RepetitionTime": "2.2"}', 2.2, ""),
        (b'{"VolumeTiming": [0, 1.5, 3.0, 4.5]}', 1.5, ""),
        (b'{"RepetitionTime": null}', None, ""),
        (b"[2.0]", None, ""),
        (b"{}", None, ""),
        (b'{"VolumeTiming": [0, 1.5, 3.5, 9]}', None, "says by its VolumeTiming"),
        (b'{"VolumeTiming": [0]}', None, "says by its VolumeTiming"),
        (b'{"VolumeTiming": "x"}', None, "says by its VolumeTiming"),
        (b'{"VolumeTiming": [[0, 1], [2, 3]]}', None, "says by its VolumeTiming"),
        (b'{"RepetitionTime": 2000}', None, "says 2000 s, which is outside of 0.05 to 30 s"),
        (b'{"RepetitionTime": 0}', None, "says 0 s, which is outside"),
        (b'{"RepetitionTime": -2.0}', None, "says -2 s"),
        (b'{"RepetitionTime": 1e400}', None, "says inf s"),
        (b'{"RepetitionTime": NaN}', None, "says 'nan', which is no number of seconds"),
        (b'{"RepetitionTime": true}', None, "says 'True', which is no number"),
        (b'{"RepetitionTime": "2 s"}', None, "says '2 s', which is no number"),
        (b'{"RepetitionTime": [2.0]}', None, "which is no number"),
        (b'{"RepetitionTime": 1' + b"0" * 400 + b"}", None, "which is no number"),
        (b"", None, "cannot be read ("),
        (b'{"RepetitionTime": 2', None, "cannot be read ("),
        (b"\xff\xfe\x00", None, "cannot be read ("),
        (b"[" * 100_000, None, "cannot be read ("),
    ],
)
def test_what_a_sidecar_says(tmp_path, content, seconds, doubt):
    (tmp_path / "run.json").write_bytes(content)
    found = Sidecars().say(tmp_path / "run.nii.gz")
    assert found.seconds == seconds
    assert doubt in found.doubt if doubt else not found.doubt


@settings(max_examples=100, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from(["RepetitionTime", "VolumeTiming", "x"]), inner, max_size=3)
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_nothing_in_a_sidecar_is_a_crash(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "run.json").write_bytes(content)
    found = Sidecars().say(folder / "run.nii")
    assert found.seconds is None or SHORTEST <= found.seconds <= LONGEST
    assert found.seconds is None or not found.doubt


def test_a_sidecar_that_is_not_there(tmp_path):
    (tmp_path / "run.json").symlink_to("absent.json")
    assert "a link to nothing" in Sidecars().say(tmp_path / "run.nii").doubt
    (tmp_path / "folder.json").mkdir()
    assert "cannot be read" in Sidecars().say(tmp_path / "folder.nii").doubt
    assert not Sidecars().say(tmp_path / "absent/run.nii")


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    say(tmp_path / "task-rest_bold.json", 1.5)
    for subject in (0, 1):
        (tmp_path / f"sub-{subject}/func").mkdir(parents=True)
    listed, opened = [], []
    iterdir, read_bytes = type(tmp_path).iterdir, type(tmp_path).read_bytes
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda path: listed.append(path) or iterdir(path))
    monkeypatch.setattr(type(tmp_path), "read_bytes", lambda path: opened.append(path) or read_bytes(path))
    sidecars = Sidecars()
    for number in range(20):
        assert sidecars.say(
            tmp_path / f"sub-{number % 2}/func/sub-{number % 2}_task-rest_run-{number}_bold.nii"
        ).seconds
    assert len(listed) == len(set(listed)) == 5
    assert len(opened) == 1


# Several runs as one image


def test_runs_of_which_one_says_nothing(tmp_path):
    two, none, other = (save(tmp_path / f"{name}.nii", t_r) for name, t_r in {"two": 2, "none": 0, "three": 3}.items())
    time = time_of(two, none)
    assert (time.seconds, time.source) == (2.0, "header")
    assert f"({none})" in time.problem
    assert prepare_cleaning(open_series([two, none]), {"detrend": True}).t_r == 2.0
    with pytest.raises(UserError, match="cannot be filtered without a TR"):
        prepare_cleaning(open_series([two, none]), {"high_pass": 0.02})
    cleaning = prepare_cleaning(open_series([none, two]), {"high_pass": 0.02, "t_r": 1.5}, [40, 40])
    assert cleaning.t_r == 1.5
    assert prepare_cleaning(open_series([none, none]), {"low_pass": 0.1, "t_r": 2.0}, [40, 40]).t_r == 2.0
    with pytest.raises(UserError, match=rf"^{other} does not fit {two}: TR 3\.0 s against 2\.0 s; "):
        time_of(none, two, other)
    assert time_of(two, other, t_r=2.5).seconds == 2.5, "somebody says it"
    for run in (two, other):
        say(run.with_suffix(".json"), 2.5)
    assert time_of(two, other).seconds == 2.5, "so do the sidecars, if not for a filter"
    assert time_of(two, other).problem


@pytest.mark.parametrize("first", ["two", "none", "msec", "volume"])
def test_concatenated(tmp_path, first):
    runs = {
        name: save(tmp_path / f"{name}.nii", *says)
        for name, says in {"two": (2,), "none": (0,), "other": (0,), "msec": (2, MSEC)}.items()
    }
    runs["volume"] = tmp_path / "volume.nii"
    nib.Nifti1Image(DATA[..., 0], AFFINE).to_filename(runs["volume"])
    out = tmp_path / "image.nii"
    concatenate_runs([runs[first], runs["other"]], out, tmp_path / "runs.tsv", t_r=2.5)
    assert inspect(out).t_r == 2.5
    assert nib.load(out).header.get_xyzt_units()[1] == "sec"
    assert nib.load(out).shape[3] == (41 if first == "volume" else 80)
    concatenate_runs([runs[first], runs["other"]], out, tmp_path / "runs.tsv")
    assert inspect(out).t_r == (2.0 if first == "two" else None)
    say(tmp_path / "other.json", 1.5)
    if first != "two":
        say(runs[first].with_suffix(".json"), 1.5)
        concatenate_runs([runs[first], runs["other"]], out, tmp_path / "runs.tsv")
        assert inspect(out).t_r == 1.5


# The runs table


def read(folder, text, **options):
    (folder / "runs.tsv").write_text(text)
    return read_runs_table(folder / "runs.tsv", SCHEMA, **options)


@pytest.fixture
def study(tmp_path):
    save(tmp_path / "one.nii", 1.0)
    save(tmp_path / "two.nii", 2.0)
    save(tmp_path / "none.nii", 0)
    save(tmp_path / "msec.nii", 2.0, MSEC)
    return tmp_path


def test_the_column_wins(study):
    runs = read(study, "image\trun\tt_r\na\tone.nii\t2.5\nb\ttwo.nii\tn/a\nc\tnone.nii\t\nd\tmsec.nii\t2e0\n")
    assert [run.t_r for run in runs] == [2.5, 2.0, None, 2.0]
    assert [(run.time.seconds, run.time.source) for run in runs] == [
        (2.5, "runs table"),
        (2.0, "header"),
        (None, None),
        (2.0, "runs table"),
    ]
    assert [bool(run.time.problem) for run in runs] == [False, False, True, False]
    by_option = read(study, "image\trun\tt_r\na\tone.nii\t2.5\nb\ttwo.nii\tn/a\nc\tnone.nii\t\n", cleaning={"t_r": 3.0})
    assert [run.time.seconds for run in by_option] == [2.5, 3.0, 3.0]
    assert "the option t_r says 3 s, but the runs table says 2.5 s, which is taken" in by_option[0].time.remarks


@pytest.mark.parametrize("text", ["2 s", "2,0", "0", "0.01", "31", "2000", "nan", "inf", "-2", "1_0", "0x2", "."])
def test_what_is_no_tr_in_the_table(study, text):
    with pytest.raises(UserError) as error:
        read(study, f"image\trun\tt_r\na\tone.nii\t{text}\nb\tabsent.nii\t2\n")
    _, second, third = str(error.value).split("\n")
    assert second.startswith(f"line 2: t_r {text!r} must be the repetition time in seconds, from 0.05 to 30, or empty")
    assert third.startswith("line 3: ")


def test_runs_of_one_image_by_their_trs(study):
    with pytest.raises(UserError, match=r"\nline 3: \S+two\.nii does not fit \S+one\.nii: TR 2\.0 s against 1\.0 s; "):
        read(study, "image\trun\na\tone.nii\na\ttwo.nii\n")
    assert len(read(study, "image\trun\tt_r\na\tone.nii\t2\na\ttwo.nii\t\na\tnone.nii\t\na\tmsec.nii\t\n")) == 4
    assert len(read(study, "image\trun\na\tone.nii\na\ttwo.nii\na\tnone.nii\n", cleaning={"t_r": 2.0})) == 3
    with pytest.raises(UserError, match=r"\nline 3: .*TR 3\.0 s against 2\.0 s"):
        read(study, "image\trun\tt_r\na\tone.nii\t2\na\ttwo.nii\t3\n")


def test_all_runs_that_a_filter_cannot_take(study):
    save(study / "short.nii", 2.0, data=DATA[..., :5])
    save(study / "slow.nii", 20.0)
    table = "image\trun\n" + "".join(
        f"{name}\t{name}.nii\n" for name in ("one", "none", "short", "msec", "slow", "two")
    )
    runs = read(study, table)
    check_filters({"detrend": True}, runs)
    with pytest.raises(UserError) as error:
        check_filters({"high_pass": 0.04}, runs)
    first, *lines = str(error.value).split("\n")
    assert first == "cleaning: the filter cannot take 4 runs; correct them:"
    assert [line.split(": ")[0] for line in lines] == ["line 3", "line 4", "line 5", "line 6"]
    for name, line in zip(("none", "short", "msec", "slow"), lines, strict=True):
        assert f"{name}.nii" in line
    with pytest.raises(UserError, match="cannot take 2 runs"):
        check_filters({"high_pass": 0.04}, read(study, table, cleaning={"t_r": 20.0})[1:3])
    as_one = "image\trun\na\tshort.nii\na\ttwo.nii\n"
    with pytest.raises(UserError, match="cannot take 1 run;"):
        check_filters({"high_pass": 0.04}, read(study, as_one))
    check_filters({"high_pass": 0.04, "per_run": False}, read(study, as_one))


def test_what_is_odd_is_told_once_for_all_runs_of_which_it_is_true(study, caplog):
    say(study / "two.json", 3.0)
    table = "image\trun\n" + "".join(
        f"{number}\t{name}.nii\n" for number, name in enumerate(("none", "none", "one", "none", "two", "msec"))
    )
    tell_times(read(study, table))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert told[0].startswith(f"TR of {study}/none.nii and 2 more (lines 2-3, 5): neither the runs table")
    assert told[1] == f"TR of {study}/two.nii (line 6): its header says 2 s, but its sidecar says 3 s, which is taken."
    assert told[2].startswith(f"TR of {study}/msec.nii (line 7): its header says 2 ms, ")
    tell_times(read(study, "image\trun\na\tone.nii\n"))
    assert len(caplog.records) == 3


def test_volumes_of_one_run_have_the_tr_of_any_of_them(study):
    """3D files say nothing; one line for a run of them is enough."""
    for number in range(40):
        nib.Nifti1Image(DATA[..., 0], AFFINE).to_filename(study / f"volume-{number}.nii")
    lines = [f"a\tvolume-{number}.nii\t{2.0 if number == 3 else 'n/a'}\n" for number in range(40)]
    runs = join_volumes(read(study, "image\trun\tt_r\n" + "".join(lines)))
    assert [run.time.seconds for run in runs] == [2.0]
    check_filters({"high_pass": 0.04}, runs)
    silent = join_volumes(read(study, "image\trun\n" + "".join(line.rpartition("\t")[0] + "\n" for line in lines)))
    with pytest.raises(UserError, match="cannot take 1 run;"):
        check_filters({"high_pass": 0.04}, silent)


@pytest.mark.parametrize("check", [True, False])
def test_the_plan_hands_on_what_was_said(study, check):
    """A job on a cluster makes the same plan for itself, and looks at its own runs only."""
    say(study / "two.json", 3.0)
    table = "image\trun\tt_r\nh\tone.nii\tn/a\ns\ttwo.nii\tn/a\nt\tnone.nii\t1.5\nt\tmsec.nii\t\nn\tnone.nii\t\n"
    (study / "runs.tsv").write_text(table)
    nib.Nifti1Image(np.ones((2, 2, 2), np.int16), AFFINE).to_filename(study / "atlas.nii")
    schemas = {
        name: yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))
        for name in ("config", "runs")
    }
    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    config |= {"dataset": str(study / "runs.tsv"), "atlas": str(study / "atlas.nii"), "regions": "all"}

    def options(**cleaning):
        plan = make_plan({**config, "cleaning": cleaning}, schemas, check=check)
        return {image: plan.cleaning_options(image) for image in plan.runs}

    assert options(detrend=True) == {
        "h": {"detrend": True},
        "s": {"detrend": True, "t_r": 3.0, "t_r_source": "sidecar two.json"},
        "t": {"detrend": True, "t_r": 1.5, "t_r_source": "runs table"},
        "n": {"detrend": True},
    }
    said = options(t_r=1.5)
    assert said["h"] == said["s"] == said["n"] == {"t_r": 1.5}
    assert said["t"] == {"t_r": 1.5, "t_r_source": "runs table and option t_r"}


# Listings


def test_listed_with_the_tr_of_the_sidecar(tmp_path, caplog):
    for subject in ("01", "02", "03"):
        save(tmp_path / f"data/sub-{subject}/func/sub-{subject}_task-rest_bold.nii", 1.0)
    list_bids_runs(tmp_path / "data", tmp_path / "runs.tsv")
    assert (tmp_path / "runs.tsv").read_text().splitlines()[0] == "image\trun"
    say(tmp_path / "data/sub-02/func/sub-02_task-rest_bold.json", 0.8)
    say(tmp_path / "data/sub-03/sub-03_task-rest_bold.json", 2000)
    list_bids_runs(tmp_path / "data", tmp_path / "runs.tsv")
    rows = [line.split("\t") for line in (tmp_path / "runs.tsv").read_text().splitlines()]
    assert [row[-1] for row in rows] == ["t_r", "n/a", "0.8", "n/a"]
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "sub-03_task-rest_bold.nii: its sidecar says 2000 s, which is outside of 0.05 to 30 s; t_r is n/a" in warning
    say(tmp_path / "data/task-rest_bold.json", 2.0)
    list_bids_runs(tmp_path / "data", tmp_path / "runs.tsv")
    runs = read_runs_table(tmp_path / "runs.tsv", SCHEMA)
    assert [run.t_r for run in runs] == [2.0, 0.8, None]
    assert [run.time.source for run in runs] == ["runs table", "runs table", None]


# Programs


def test_a_program_says_which_tr_it_used(tmp_path, rng):
    run = save(tmp_path / "run.nii", 1.0, data=rng.normal(500, 20, (*GRID, 40)).astype(np.float32))
    mask = save_mask(tmp_path / "region-1_mask.nii.gz", [(1, 2, 3), (2, 2, 2)])
    say(tmp_path / "run.json", 2.0)
    words = ["--strategy", "stream", "--image", run, "--masks", mask, "--out", tmp_path / "out"]
    refused = run_script("extract_regions.py", *words, "--high-pass", 0.02, cwd=tmp_path)
    assert refused.returncode == 1
    assert "ERROR: " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out/extraction.json").exists()
    told = run_script(
        "extract_regions.py", *words, "--high-pass", 0.02, "--t-r", 2, "--t-r-source", "runs table", cwd=tmp_path
    )
    assert told.returncode == 0, told.stderr
    assert "INFO: TR 2 s, from the runs table." in told.stderr
    assert "its header says 1 s, but the runs table says 2 s, which is taken" in told.stderr
    cleaning = json.loads((tmp_path / "out/extraction.json").read_text())["cleaning"]
    assert (cleaning["t_r"], cleaning["t_r_source"]) == (2.0, "runs table")
    [remark] = json.loads((tmp_path / "out/extraction.json").read_text())["t_r_remarks"]
    assert "its header says 1 s" in remark
    assert run_script("extract_regions.py", *words, "--t-r", 2000, cwd=tmp_path).returncode == 1
