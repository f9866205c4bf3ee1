"""Names that are private to other packages may go: without each of them all works, if slower or in more memory."""

import importlib
import sys

import isal.igzip  # it has the name for itself
import isal.isal_zlib
import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, GRID, save_run

DATA = np.random.default_rng(2).standard_normal((*GRID, 9)).astype(np.float32)
LABELS = nib.Nifti1Image(np.random.default_rng(3).integers(0, 4, GRID).astype(np.int32), AFFINE)


@pytest.fixture
def run(tmp_path):
    return save_run(tmp_path / "run.nii.gz", DATA)


@pytest.fixture
def reloaded():
    """Import modules of ours anew, and put back those that there were."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "roistream"}

    def reload(name):
        for own in before:
            sys.modules.pop(own, None)
        return importlib.import_module(name)

    yield reload
    for name in [name for name in sys.modules if name.partition(".")[0] == "roistream"]:
        del sys.modules[name]
    sys.modules.update(before)


def test_without_the_reader_under_igzip(run, reloaded, monkeypatch):
    monkeypatch.delattr(isal.isal_zlib, "_GzipReader")
    volumes = reloaded("roistream.images.volumes")
    from roistream.errors import UserError
    from roistream.images.image import inspect
    from roistream.images.members import _GzipReader

    assert _GzipReader is None
    values = np.concatenate([block.values.copy() for block in volumes.read_blocks(inspect(run), 2**12)])
    assert np.array_equal(values.T.reshape(DATA.shape, order="F"), DATA)
    image = inspect(run)
    run.write_bytes(run.read_bytes()[:-400])
    with pytest.raises(UserError, match="ends early: 9 volumes expected"):
        list(volumes.read_blocks(image, 2**12))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nilearn._utils.logger", None),
        ("nilearn._utils.cache_mixin", "cache"),
        ("nilearn._utils.niimg", "ensure_finite_data"),
        ("nilearn.maskers.base_masker", "filter_and_extract"),
        ("nilearn.maskers.base_masker", "mask_logger"),
        ("nilearn.maskers.nifti_masker", "filter_and_mask"),
        ("nilearn.maskers.nifti_spheres_masker", "apply_mask_and_get_affinity"),
    ],
)
def test_without_a_name_of_nilearn_the_maskers_are_nilearn_s(module, name, run, reloaded, monkeypatch):
    from nilearn.maskers import NiftiLabelsMasker

    if name is None:
        monkeypatch.delattr("nilearn._utils.logger")
        monkeypatch.setitem(sys.modules, module, None)
    else:
        monkeypatch.delattr(f"{module}.{name}")
    with pytest.warns(match="hold images whole"):
        maskers = reloaded("roistream.maskers")
    monkeypatch.undo()
    assert not maskers.classes.ENGINE
    expected = NiftiLabelsMasker(LABELS).fit_transform(run)
    assert np.array_equal(maskers.NiftiLabelsMasker(LABELS).fit_transform(run), expected)
    assert maskers.NiftiMasker(LABELS, reports=False).fit([run]).n_elements_ == np.count_nonzero(LABELS.dataobj)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("setting", ["labels_img", "strategy"])
def test_without_a_setting_that_we_know_nilearn_reduces_each_block(setting, run):
    from nilearn.maskers import nifti_labels_masker

    from roistream.maskers.reductions import ByNilearn, Labels, prepare

    extract = nifti_labels_masker._ExtractionFunctor(LABELS, 0, "mean", False, None)
    empty = nib.Nifti1Image(np.zeros((*GRID, 1), np.float32), AFFINE)
    known = prepare(extract, empty, 9)
    assert isinstance(known, Labels)

    class Renamed(nifti_labels_masker._ExtractionFunctor):
        def __init__(self, other):
            vars(self).update({f"{name}_" if name == setting else name: value for name, value in vars(other).items()})

        def __getattr__(self, name):
            return vars(self)[f"{name}_"]

    unknown = prepare(Renamed(extract), empty, 9)
    assert isinstance(unknown, ByNilearn)
    for reduction in (known, unknown):
        for first in range(0, 9, 4):
            reduction.add(first, DATA.reshape(-1, 9, order="F").T[first : first + 4])
    assert np.array_equal(known.result()[0], unknown.result()[0])


def test_the_engine_is_in_use():
    from roistream.maskers import classes, nilearn_internals

    assert nilearn_internals.MISSING == ""
    assert len(classes.ENGINE) == 3
