"""Predicted memory: for every strategy, against what is measured, and what is said when it does not suffice."""

import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from conftest import AFFINE, ROOT, save_mask
from roistream.images.image import inspect
from roistream.images.writing import new_header, write_image
from roistream.memory.limits import Available
from roistream.memory.measure import measure
from roistream.memory.predict import predict_peak_mib, predict_peaks_mib, tell_shortage
from roistream.strategies import LABEL_STRATEGIES, REGISTRY, STRATEGIES, Strategy

GRID = (40, 41, 32)


def save_image(path, n_volumes, dtype="<f4", grid=GRID, scaling=(1, 0)):
    """Save an image of a known size without holding it; it compresses to nearly nothing."""
    header = new_header((*grid, n_volumes), np.dtype(dtype), AFFINE, 2.0)
    header.set_slope_inter(*scaling)
    volume = np.arange(np.prod(grid)).astype(dtype)
    write_image(path, header, (volume for _ in range(n_volumes)))
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """30 MiB, also without compression, and two masks on its grid."""
    folder = tmp_path_factory.mktemp("prediction")
    save_image(folder / "run.nii", 150)
    boxes = {"region-1": np.s_[5:15, 5:15, 5:15], "region-2": np.s_[20:30, 20:32, 10:20]}
    for name, box in boxes.items():
        mask = np.zeros(GRID, bool)
        mask[box] = True
        save_mask(folder / f"{name}_mask.nii.gz", np.argwhere(mask), GRID)
    return save_image(folder / "run.nii.gz", 150)


def predict(strategy, path, n_voxels=(1000, 1200), n_jobs=2, **cleaning):
    return predict_peak_mib(strategy, inspect(path), n_voxels, n_jobs, cleaning)


@pytest.mark.parametrize(("name", "n_jobs"), [*product(STRATEGIES, (1, 2)), *product(LABEL_STRATEGIES, (1,))])
def test_every_strategy_against_what_is_measured(image, tmp_path, name, n_jobs):
    """Beside other Python programs, such as this one, some of the libraries' pages are not counted in what is measured."""
    source = image.with_suffix("") if REGISTRY[name].uncompressed else image
    masks = sorted(image.parent.glob("*_mask.nii.gz"))
    command = [sys.executable, ROOT / "scripts/extract_regions.py", "--strategy", name, "--image", source]
    command += ["--masks", *masks, "--out", tmp_path / "out", "--n-jobs", n_jobs]
    measured = measure(list(map(str, command)), interval_s=0.02)
    assert measured.exit_status == 0
    predicted = predict(name, source, n_jobs=n_jobs)
    assert 0.95 * measured.peak_pss_mib <= predicted <= 1.4 * measured.peak_rss_mib


@pytest.mark.parametrize("name", list(REGISTRY))
def test_longer_images_take_more_but_for_stream(tmp_path, name):
    short, long = (save_image(tmp_path / f"{n}.nii.gz", n) for n in (200, 800))
    growth = predict(name, long) - predict(name, short)
    if name.startswith("stream"):
        assert growth < 15  # the batches of the regions' values are filled; nothing else
    elif name == "mmap":
        assert growth < inspect(long).mib / 4
    else:
        assert growth > 0.9 * (inspect(long).mib - inspect(short).mib)


@pytest.mark.parametrize("name", ["nifti_masker_path", "numpy_path"])
def test_every_worker_of_these_holds_an_image(image, name):
    six, three = (predict(name, image, [1000] * 6, n_jobs) for n_jobs in (6, 3))
    assert six - three > 3 * 2 * inspect(image).mib


def test_scaled_integers_are_held_as_float64(tmp_path):
    stored = save_image(tmp_path / "int16.nii.gz", 200, "<i2")
    scaled = save_image(tmp_path / "scaled.nii.gz", 200, "<i2", scaling=(0.5, 3))
    assert predict("numpy_path", scaled) - predict("numpy_path", stored) > 2 * 2 * inspect(stored).mib


def test_smoothing_and_filters_take_more(image):
    plain = predict("stream", image)
    assert plain < predict("stream", image, detrend=True) < predict("stream", image, detrend=True, smoothing_fwhm=6)
    assert predict("nifti_masker_path", image) < predict("nifti_masker_path", image, smoothing_fwhm=6)


def test_large_volumes_do_not_unbound_stream(tmp_path):
    """Each volume of 64 MiB is read in parts; only smoothing needs it whole."""
    huge = tmp_path / "huge.nii"
    header = new_header((256, 256, 256, 500), np.float32, AFFINE, 2.0)
    header["vox_offset"] = 352
    huge.write_bytes(header.binaryblock + bytes(4))
    os.truncate(huge, 352 + 500 * 256**3 * 4)  # a file with a hole takes no disk
    assert predict("stream", huge) < 150
    assert predict("stream", huge, smoothing_fwhm=6) > 6 * 64


def test_only_strategies_that_smooth_are_predicted_with_smoothing(image):
    assert list(predict_peaks_mib(inspect(image), [10], 1, {})) == list(REGISTRY)
    smoothing = predict_peaks_mib(inspect(image), [10], 1, {"smoothing_fwhm": 5.0})
    assert list(smoothing) == [name for name, entry in REGISTRY.items() if entry.smooths]


def test_a_strategy_without_a_prediction_is_a_defect():
    with pytest.raises(AttributeError, match="teleport"):
        Strategy("teleport", "teleport", "teleport").load_prediction()


PREDICTED = {"numpy_path": 5000.0, "mmap": 800.0, "stream": 60.0}


def test_a_shortage_names_need_limit_and_what_would_fit():
    told = tell_shortage("numpy_path", PREDICTED, 6, 900, [Available(1000, "the memory of its SLURM job")])
    assert told == (
        "The strategy numpy_path with 6 job(s) needs about 5,000 MiB of memory, but the memory of its SLURM job allows "
        "1,000 MiB; use stream (60 MiB) or mmap (800 MiB)"
    )
    assert tell_shortage("stream", PREDICTED, 6, 900, [Available(10, "x")]).endswith("use a machine with more")


@pytest.mark.parametrize("limits", [[], [Available(5000, "x")], [Available(900, "x", each_process=True)]])
def test_no_shortage(limits):
    # Of six workers none has more than its share, but each has the image.
    assert tell_shortage("numpy_path", PREDICTED, 6, 900, limits) == ""


def test_what_must_have_the_image_in_its_address_space_is_not_recommended():
    limits = [Available(2000, "the machine"), Available(899, "ulimit", each_process=True)]
    told = tell_shortage("mmap", PREDICTED, 6, 900, limits)
    assert told == (
        "The strategy mmap with 6 job(s) needs about 900 MiB of memory, but ulimit allows 899 MiB; use stream (60 MiB)"
    )
    # Both are too small: the smaller one is told, and what is recommended keeps both.
    told = tell_shortage("numpy_path", PREDICTED, 6, 900, limits)
    assert "but ulimit allows" in told
    assert told.endswith("use stream (60 MiB)")


def run_script(name, *arguments, **variables):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=300,
        check=False,
    )


def test_a_job_that_cannot_fit_says_so_before_it_starts(image, tmp_path):
    masks = sorted(image.parent.glob("*_mask.nii.gz"))
    arguments = ["--image", image, "--masks", *masks, "--out", tmp_path / "out", "--strategy", "numpy_in_memory"]
    refused = run_script("extract_regions.py", *arguments, SLURM_MEM_PER_NODE="70")
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("ERROR: The strategy numpy_in_memory with 1 job(s) needs about ")
    assert "use stream (" in line
    assert not (tmp_path / "out").exists()
    tried = run_script("extract_regions.py", *arguments, "--memory-shortage", "warn", SLURM_MEM_PER_NODE="70")
    assert tried.returncode == 0
    assert tried.stderr.startswith("WARNING: The strategy numpy_in_memory")
    assert (tmp_path / "out/region-1_timeseries.npy").exists()


def test_the_table_before_anything_is_run(image):
    masks = sorted(image.parent.glob("*_mask.nii.gz"))
    arguments = ["--image", image, "--masks", *masks, "--n-jobs", 2]
    done = run_script("predict_memory.py", *arguments, SLURM_MEM_PER_NODE="70")
    assert done.returncode == 0, done.stderr
    header, *rows, available = done.stdout.splitlines()
    assert header.split("\t") == ["strategy", "predicted_mib", "fits"]
    table = {name: (float(mib), fits) for name, mib, fits in (row.split("\t") for row in rows)}
    assert list(table) == list(REGISTRY)
    for name, (mib, fits) in table.items():
        source = image.with_suffix("") if name == "mmap" else image
        assert mib == pytest.approx(predict(name, source), abs=1)
        assert fits == ("yes" if mib <= 70 else "no")
    assert {fits for _, fits in table.values()} == {"yes", "no"}
    assert available == "# 70 MiB are available: the memory of its SLURM job"
    smoothing = run_script("predict_memory.py", *arguments, "--smoothing-fwhm", 6).stdout
    assert "mmap\tn/a\tcannot smooth\n" in smoothing


def test_a_mistake_is_one_sentence(tmp_path):
    done = run_script("predict_memory.py", "--image", tmp_path / "absent.nii", "--masks", tmp_path / "mask.nii")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("ERROR: ")
    assert "absent.nii" in line


def test_a_filter_that_an_extraction_would_refuse(image):
    mask = next(image.parent.glob("*_mask.nii.gz"))
    done = run_script("predict_memory.py", "--image", image, "--masks", mask, "--low-pass", 0.3, "--t-r", 2)
    assert (done.returncode, done.stdout) == (1, "")
    assert "low_pass 0.3 Hz is not below half the sampling rate" in done.stderr


def test_no_masks_is_no_error_of_the_model(image):
    assert predict("stream", image, []) > 0
