"""Cleaning leaves nilearn as it is for everybody else, and two threads that clean at once do not disturb each other."""

import gc
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import util

import nibabel as nib
import numpy as np
import pytest
from nilearn import signal

from conftest import AFFINE, GRID, save_run
from roistream.cleaning import signals
from roistream.cleaning.options import Cleaning
from roistream.garbage import paused_collections, quick_collections
from roistream.maskers import NiftiLabelsMasker, NiftiMasker

OPTIONS = [
    Cleaning(detrend=True, high_pass=0.02, t_r=2.0, standardize="zscore_sample"),
    Cleaning(low_pass=0.1, high_pass=0.01, t_r=2.5, runs=np.repeat([0, 1], 60)),
]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_two_threads_give_the_same_bits_as_one_after_the_other(rng):
    images = [(rng.standard_normal((120, 40)) * 50 + 1000).astype(np.float32) for _ in range(8)]
    tasks = [(image, OPTIONS[number % 2]) for number, image in enumerate(images)]
    expected = [signals.clean_time_series(image, cleaning) for image, cleaning in tasks]
    together = threading.Barrier(2)

    def clean(task):
        together.wait(60)
        return signals.clean_time_series(*task)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(clean, tasks))
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.filterwarnings("ignore:.*Generation of a mask")
def test_two_threads_with_maskers_give_the_same_bits_as_one_after_the_other(tmp_path, rng):
    """The whole way from the file, more than once, so that they are at the same step now and then."""
    labels = nib.Nifti1Image(rng.integers(0, 5, GRID).astype(np.int32), AFFINE)
    cleaning = {"detrend": True, "high_pass": 0.02, "t_r": 2.0, "standardize": "zscore_sample", "reports": False}
    tasks = []
    for number in range(4):
        values = (rng.standard_normal((*GRID, 60)) * 50 + 1000).astype(np.float32)
        run = save_run(tmp_path / f"run-{number}.nii.gz", values)
        tasks.append((NiftiLabelsMasker(labels, smoothing_fwhm=5, **cleaning), run))
        tasks.append((NiftiMasker(labels, **cleaning), run))
    expected = [masker.fit_transform(run) for masker, run in tasks]
    together = threading.Barrier(2)

    def extract(task):
        masker, run = task
        together.wait(60)
        return masker.fit_transform(run)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(extract, tasks))
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_nilearn_stays_as_it_is_while_somebody_cleans(rng, monkeypatch):
    """Whoever filters in another thread meanwhile gets nilearn's own function."""
    before, seen = vars(signal).copy(), []
    own = signals.signal_module()

    def watched(*args, **options):
        seen.append(vars(signal) == before)
        return filtering(*args, **options)

    filtering = own.butterworth
    monkeypatch.setattr(own, "butterworth", watched)
    signals.clean_time_series(rng.standard_normal((120, 5)), OPTIONS[0])
    assert seen
    assert all(seen)


def test_the_garbage_collector_is_left_as_it_was():
    """nilearn forces collections again and again; what there is already is frozen meanwhile, unless somebody has frozen it."""
    gc.unfreeze()  # what conftest.py has frozen
    assert gc.get_freeze_count() == 0
    with quick_collections():
        assert gc.get_freeze_count() > 0
        with quick_collections():
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    with paused_collections():
        assert not gc.isenabled()
        with paused_collections():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_without_its_filter_by_that_name_nilearn_cleans_in_its_own_way(rng, monkeypatch):
    def without_the_name(spec):
        module = util.module_from_spec(spec)
        spec.loader = Loader(spec.loader)
        return module

    class Loader:
        def __init__(self, loader):
            self.loader = loader

        def exec_module(self, module):
            self.loader.exec_module(module)
            module.butterworth_renamed = module.butterworth
            del module.butterworth

    values = rng.standard_normal((120, 5))
    monkeypatch.setattr(signals, "module_from_spec", without_the_name)
    module = signals.signal_module.__wrapped__()
    assert not hasattr(module, "butterworth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(module.clean(values, standardize="psc"), signal.clean(values, standardize="psc"))
