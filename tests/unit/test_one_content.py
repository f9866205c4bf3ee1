"""One file, one content: every strategy gets the same numbers out of an odd file, or refuses it with the same sentence."""

import bz2
import gzip
import logging
import struct

import nibabel as nib
import numpy as np
import pytest

from concatenate_runs import concatenate_runs
from conftest import AFFINE, GRID, save_run
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.volumes import read_blocks
from roistream.regions.masks import Mask, read_voxels
from roistream.strategies import STRATEGIES

N_VOLUMES = 7
VOLUME = 4 * int(np.prod(GRID))


@pytest.fixture
def data(rng):
    return rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32) + 100


@pytest.fixture
def plain(tmp_path, data):
    return save_run(tmp_path / "plain.nii", data).read_bytes()


def extended(content, size, rest, flag=1):
    """Put an extension of a size that may be a lie between header and data."""
    extension = struct.pack("<2i", size, 6) + rest
    return (
        content[:108]
        + struct.pack("<f", 352 + len(extension))
        + content[112:348]
        + bytes([flag, 0, 0, 0])
        + (extension + content[352:])
    )


def flipped(content):
    """Change one bit of a value in a gzip of stored blocks, which the check sum alone can tell."""
    stored = bytearray(gzip.compress(content, 0))
    stored[-VOLUME // 2] ^= 1
    return bytes(stored)


def quaternion(content, *vector):
    """Let the qform alone tell the place."""
    return content[:252] + struct.pack("<2h6f", 1, 0, *vector, 9, -12, -6) + content[280:]


FINE, REFUSED = "fine", "refused"
CASES = {
    "no ending": ("a3f0ba7b052af6f1", bytes, FINE),
    "no ending, gzip": ("a3f0ba7b052af6f1", gzip.compress, FINE),
    "another ending": ("run.nifti", bytes, FINE),
    "another ending that nibabel takes for zstd": ("run.zst", bytes, FINE),
    "upper case": ("RUN.NII", bytes, FINE),
    "upper case, gzip": ("RUN.NII.GZ", gzip.compress, FINE),
    "mixed case, bzip2": ("Run.Nii.Bz2", bz2.compress, FINE),
    "a pattern": ("run[12]*?{a,b}.nii.gz", gzip.compress, FINE),
    "a home": ("~", bytes, FINE),
    "a pattern that matches another": ("[p]lain.nii", bytes, FINE),
    "gzip under .nii": ("run.nii", gzip.compress, REFUSED),
    "plain under .nii.gz": ("run.nii.gz", bytes, REFUSED),
    "bzip2 under .gz": ("run.nii.gz", bz2.compress, REFUSED),
    "large extension": ("run.nii.gz", lambda c: gzip.compress(extended(c, 200_008, b"x" * 200_000)), FINE),
    "extension of a lying size": ("run.nii", lambda c: extended(c, 4096, b"x" * 24), FINE),
    "extension of no size": ("run.nii.gz", lambda c: gzip.compress(extended(c, 0, bytes(24))), FINE),
    "extension of a negative size": ("run.nii", lambda c: extended(c, -64, bytes(24)), FINE),
    "extension flagged that is not there": ("run.nii.gz", lambda c: gzip.compress(c[:348] + b"\1" + c[349:]), FINE),
    "extension not flagged": ("run.nii", lambda c: extended(c, 32, b"x" * 24, flag=0), FINE),
    "half of a voxel more": ("run.nii", lambda c: c + b"ab", FINE),
    "half of a voxel more, gzip": ("run.nii.gz", lambda c: gzip.compress(c + b"ab"), FINE),
    "volumes more": ("run.nii", lambda c: c + bytes(2 * VOLUME), REFUSED),
    "volumes more, gzip": ("run.nii.gz", lambda c: gzip.compress(c + bytes(2 * VOLUME)), REFUSED),
    "volumes more, bzip2": ("run.nii.bz2", lambda c: bz2.compress(c + bytes(2 * VOLUME)), REFUSED),
    "members": ("run.nii.gz", lambda c: gzip.compress(c[:3000]) + gzip.compress(c[3000:]), FINE),
    "members, padded": (
        "run.nii.gz",
        lambda c: gzip.compress(c[:3000]) + bytes(70_000) + gzip.compress(c[3000:]),
        FINE,
    ),
    "members, bzip2": ("run.nii.bz2", lambda c: bz2.compress(c[:3000]) + bz2.compress(c[3000:]), FINE),
    "padding": ("run.nii.gz", lambda c: gzip.compress(c) + bytes(512), FINE),
    "bytes behind": ("run.nii.gz", lambda c: gzip.compress(c) + b"signature", FINE),
    "bytes behind, bzip2": ("run.nii.bz2", lambda c: bz2.compress(c) + b"signature", FINE),
    "bytes behind what is cut off": ("run.nii.gz", lambda c: gzip.compress(c[:-VOLUME]) + b"signature", REFUSED),
    "a flipped bit": ("run.nii.gz", flipped, REFUSED),
    "a lost check sum": ("run.nii.gz", lambda c: gzip.compress(c)[:-3], REFUSED),
    "a lost end, bzip2": ("run.nii.bz2", lambda c: bz2.compress(c)[:-3], REFUSED),
    "cut off": ("run.nii", lambda c: c[:-3], REFUSED),
    "cut off, gzip": ("run.nii.gz", lambda c: gzip.compress(c)[:4000], REFUSED),
    "a claim of 10 TB": (
        "run.nii.gz",
        lambda c: gzip.compress(c[:40] + struct.pack("<5h", 4, *[32767] * 4) + c[50:]),
        REFUSED,
    ),
    "an unused axis": ("run.nii.gz", lambda c: gzip.compress(c[:40] + struct.pack("<h", 5) + c[42:]), FINE),
    "an unknown sform code": ("run.nii", lambda c: c[:254] + struct.pack("<h", 9) + c[256:], FINE),
    "a quaternion too long by rounding": ("run.nii", lambda c: quaternion(c, 0, 1.0003, 0), FINE),
    "no orientation": ("run.nii", lambda c: c[:252] + bytes(4) + c[256:], FINE),
}


def outcome(name, image, masks):
    """Extract with a strategy: the arrays, or the sentence."""
    try:
        source = inspect(image)
        located = [Mask(mask, read_voxels(mask, source.grid, source.affine)) for mask in masks]
        return [array.copy() for array in STRATEGIES[name].load()(source, located, 1, Cleaning())]
    except UserError as error:
        return str(error)


def save_mask_like(path, image, voxels):
    """Save a mask on the very grid of an image, as we read it."""
    mask = np.zeros(GRID, np.uint8)
    mask[tuple(np.transpose(voxels))] = 1
    try:
        affine = inspect(image).affine
    except UserError:
        affine = AFFINE
    nib.Nifti1Image(mask, affine).to_filename(path)
    return path, mask != 0


@pytest.mark.parametrize("case", list(CASES))
def test_all_strategies_agree(tmp_path, data, plain, case, caplog):
    name, make, expected = CASES[case]
    image = tmp_path / name
    image.write_bytes(make(plain))
    path, inside = save_mask_like(tmp_path / "region-1_mask.nii.gz", image, [(1, 2, 3), (5, 6, 4), (0, 0, 0)])
    outcomes = {}
    for strategy, entry in STRATEGIES.items():
        if entry.uncompressed and image.read_bytes()[:2] in (b"\x1f\x8b", b"BZ"):
            continue
        caplog.clear()
        with caplog.at_level(logging.WARNING, "roistream"):
            outcomes[strategy] = outcome(strategy, image, [path])
        told = [record.getMessage() for record in caplog.records]
        assert told == list(dict.fromkeys(told)), "told twice"
        assert bool(told) == ("more" in case or "behind" in case) * (expected == FINE), told
    if expected == FINE:
        for found in outcomes.values():
            assert not isinstance(found, str), found
            assert np.array_equal(found[0], data[inside].T)
    else:
        [sentence] = set(outcomes.values())
        assert name in sentence


@pytest.mark.parametrize("case", [case for case, (_, _, expected) in CASES.items() if expected == FINE])
def test_the_workflows_copy_is_the_same_image(tmp_path, data, plain, case):
    """… and lies where the run lies: for us, and for nibabel."""
    name, make, _ = CASES[case]
    image = tmp_path / name
    image.write_bytes(make(plain))
    copy = tmp_path / "copy" / "x_bold.nii.gz"
    concatenate_runs([image], copy, tmp_path / "runs.tsv")
    source = inspect(copy)
    values = np.concatenate([block.values.copy() for block in read_blocks(source)])
    assert np.array_equal(values.T.reshape(data.shape, order="F"), data)
    assert np.allclose(source.affine, inspect(image).affine, atol=1e-5)
    if not copy.is_symlink():
        assert np.allclose(nib.load(copy).affine, source.affine, atol=1e-5)
        assert np.array_equal(np.asarray(nib.load(copy).dataobj), data)


@pytest.mark.parametrize("names", [("RUN.HDR", "RUN.IMG"), ("run.Hdr", "run.IMG")])
@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_pairs(tmp_path, data, strategy, names):
    nib.Nifti1Pair(data, AFFINE).to_filename(tmp_path / "pair.hdr")
    header, values = (tmp_path / name for name in names)
    (tmp_path / "pair.hdr").rename(header)
    (tmp_path / "pair.img").rename(values)
    path, inside = save_mask_like(tmp_path / "region-1_mask.nii.gz", header, [(1, 2, 3), (5, 6, 4)])
    for image in (header, values):
        [found] = outcome(strategy, image, [path])
        assert np.array_equal(found, data[inside].T)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_workers_have_to_tell_is_told_once(tmp_path, plain, data, n_jobs, caplog):
    image = tmp_path / "run.nii.gz"
    image.write_bytes(gzip.compress(plain) + b"signature")
    masks = [save_mask_like(tmp_path / f"region-{x}_mask.nii.gz", image, [(x, 2, 3)])[0] for x in range(4)]
    source = inspect(image)
    located = [Mask(mask, read_voxels(mask, source.grid, source.affine)) for mask in masks]
    with caplog.at_level(logging.WARNING, "roistream"):
        STRATEGIES["numpy_path"].load()(source, located, n_jobs, Cleaning())
    assert [record.getMessage() for record in caplog.records] == [
        f"{image}: 9 bytes follow the end of its compressed data; they are not read."
    ]
