import hashlib
import pickle
import shutil
import socket
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import ROOT, run_script
from fetch_basc import RESOLUTIONS, URL, fetch_basc
from roistream.errors import UserError

REAL = Path(__file__).parents[3] / "shared/data/template_cambridge_basc_multiscale_sym_scale064.nii.gz"


@pytest.fixture(autouse=True)
def _unreachable(monkeypatch):
    """Send every request to a port of this machine where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for variable in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(variable, proxy)
            monkeypatch.setenv(variable.upper(), proxy)
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        yield  # bound but not listening: no other program can take the port meanwhile


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "cache"


def cached_path(data_dir, resolution):
    folder = data_dir / "basc_multiscale_2015" / "template_cambridge_basc_multiscale_nii_sym"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"template_cambridge_basc_multiscale_sym_scale{resolution:03}.nii.gz"


def save_labels(path, n_labels, shape=(8, 7, 6), dtype=np.float32):
    labels = np.arange(np.prod(shape)).reshape(shape) % (n_labels + 1)
    nib.save(nib.Nifti1Image(labels.astype(dtype), np.diag([3, 3, 3, 1])), path)
    return path


@pytest.mark.skipif(not REAL.exists(), reason="the real atlas is not here")
def test_real_atlas_from_the_cache(tmp_path, data_dir):
    cached = cached_path(data_dir, 64)
    shutil.copy(REAL, cached)
    fetch_basc(tmp_path / "resources/basc.nii.gz", str(data_dir), 64)
    assert (tmp_path / "resources/basc.nii.gz").readlink() == cached
    assert nib.load(tmp_path / "resources/basc.nii.gz").shape == (53, 64, 52)


@pytest.mark.parametrize("resolution", [7, 122])
def test_file_placed_by_hand_needs_no_network(tmp_path, data_dir, resolution):
    cached = save_labels(cached_path(data_dir, resolution), resolution)
    for _ in range(2):
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), resolution)
        assert (tmp_path / "basc.nii.gz").readlink() == cached


def test_relative_cache_gives_an_absolute_link(tmp_path, data_dir, monkeypatch):
    cached = save_labels(cached_path(data_dir, 7), 7)
    monkeypatch.chdir(tmp_path)
    fetch_basc(Path("results/basc.nii.gz"), "cache", 7)
    assert Path("results/basc.nii.gz").readlink() == cached


def test_home_in_data_dir(tmp_path, data_dir, monkeypatch):
    save_labels(cached_path(data_dir, 7), 7)
    monkeypatch.setenv("HOME", str(tmp_path))
    fetch_basc(tmp_path / "basc.nii.gz", "~/cache", 7)
    assert (tmp_path / "basc.nii.gz").exists()


def test_default_cache_is_nilearns(tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("NILEARN_SHARED_DATA", str(data_dir))
    cached = save_labels(cached_path(data_dir, 7), 7)
    fetch_basc(tmp_path / "basc.nii.gz", None, 7)
    assert (tmp_path / "basc.nii.gz").readlink() == cached


def test_default_cache_that_cannot_be_made(tmp_path, data_dir, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NILEARN_SHARED_DATA", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    with pytest.raises(UserError) as raised:
        fetch_basc(tmp_path / "basc.nii.gz", None, 7)
    assert str(raised.value).endswith(f"as {cached_path(data_dir, 7)}.")


@pytest.mark.parametrize("existing", [False, True])
def test_no_network_says_where_to_place_the_file(tmp_path, data_dir, existing):
    if existing:  # another scale does not help
        save_labels(cached_path(data_dir, 12), 12)
    with pytest.raises(UserError) as raised:
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)
    message = str(raised.value)
    assert message.startswith("The BASC atlas could not be fetched from https://")
    assert "Connection refused" in message
    assert message.endswith(f"place the file by hand as {cached_path(data_dir, 7)}.")
    assert not (tmp_path / "basc.nii.gz").is_symlink()


@pytest.mark.parametrize("cut_off", [False, True])
def test_killed_while_unpacking(tmp_path, data_dir, cut_off):
    """What nilearn leaves in its temporary folder it takes for whole next time; if it is not, it must not stay."""
    cached = cached_path(data_dir, 7)
    wanted = cached.relative_to(data_dir / "basc_multiscale_2015")
    temporary = data_dir / "basc_multiscale_2015" / hashlib.md5(pickle.dumps([(wanted, URL)])).hexdigest()
    (temporary / wanted).parent.mkdir(parents=True)
    save_labels(temporary / wanted, 7, shape=(40, 40, 40))
    if not cut_off:
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)
        assert (tmp_path / "basc.nii.gz").readlink() == cached
        return
    (temporary / wanted).write_bytes((temporary / wanted).read_bytes()[:-20])
    with pytest.raises(UserError, match="is cut off before its end and was removed from nilearn's cache"):
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)
    with pytest.raises(UserError, match="could not be fetched"):
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)


def test_unknown_scale(tmp_path, data_dir):
    with pytest.raises(UserError, match="resolution=8 not available"):
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 8)


def broken(path, problem):
    match problem:
        case "does not hold exactly the labels 1 to 7":
            save_labels(path, 6)
        case "is 4D instead of 3D":
            save_labels(path, 7, shape=(4, 4, 4, 2))
        case "is cut off before its end":
            save_labels(path, 7, shape=(40, 40, 40))
            path.write_bytes(path.read_bytes()[:-20])
        case "is damaged or no image":
            path.write_text("<html>Please log in.</html>")


@pytest.mark.parametrize(
    "problem",
    [
        "does not hold exactly the labels 1 to 7",
        "is 4D instead of 3D",
        "is cut off before its end",
        "is damaged or no image",
    ],
)
def test_broken_file_in_the_cache_is_named(tmp_path, data_dir, problem):
    cached = cached_path(data_dir, 7)
    broken(cached, problem)
    with pytest.raises(UserError, match=problem) as raised:
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)
    assert str(raised.value).startswith(str(cached))
    assert "delete this file from nilearn's cache" in str(raised.value)
    assert cached.exists()
    assert not (tmp_path / "basc.nii.gz").is_symlink()


def test_labels_that_are_no_whole_numbers(tmp_path, data_dir):
    cached = cached_path(data_dir, 7)
    labels = np.linspace(0, 7, 120, dtype=np.float32).reshape(4, 5, 6)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), cached)
    with pytest.raises(UserError, match="does not hold exactly the labels"):
        fetch_basc(tmp_path / "basc.nii.gz", str(data_dir), 7)


def test_program(tmp_path, data_dir):
    cached = save_labels(cached_path(data_dir, 7), 7)
    options = ["--atlas", "Atlas 7/basc.nii.gz", "--resolution", "7", "--data-dir", "cache", "--log", "logs/basc.log"]
    done = run_script("fetch_basc.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "Atlas 7/basc.nii.gz").readlink() == cached
    assert (tmp_path / "logs/basc.log").read_text() == done.stderr == ""


def test_resolutions_are_those_of_the_config():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text("utf-8"))
    assert list(RESOLUTIONS) == schema["properties"]["resolution"]["enum"]
