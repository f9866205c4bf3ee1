"""What must hold for any header, any file, any table and any configuration: a result, or one sentence; and the truth.

Each property takes an example that a strategy of hypothesis makes, and fails by any exception but a `UserError`.
"""

import bz2
import gzip
import shutil
import struct
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from hypothesis import strategies as st

from conftest import AFFINE, ROOT
from roistream.cleaning.confounds import read_confounds
from roistream.errors import UserError
from roistream.images.image import inspect, inspect_volume
from roistream.images.series import open_series
from roistream.images.volumes import read_blocks
from roistream.regions.coverage import read_regions
from roistream.regions.label_names import read_label_names
from roistream.study.plan import make_plan
from roistream.study.run_lengths import read_run_lengths
from roistream.study.runs import read_runs_table

GRID, N_VOLUMES = (5, 4, 3), 6
SCHEMAS = {
    name: yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))
    for name in ("config", "runs")
}
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))


@contextmanager
def file_with(content, name):
    """Give the path of a file for a while."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / name).write_bytes(content)
        yield folder / name
    finally:
        shutil.rmtree(folder)


def sound_file(kind=nib.Nifti1Image, dtype="<f4", scaled=False):
    """Make the bytes of a small image that is sound."""
    values = np.random.default_rng(3).integers(-100, 100, (*GRID, N_VOLUMES)).astype(dtype)
    image = kind(values, AFFINE, dtype=values.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    content = bytearray(image.to_bytes())
    if scaled and kind is nib.Nifti1Image:
        content[112:120] = struct.pack("<2f", 0.25, 3)
    return bytes(content)


SOUND = [
    sound_file(),
    sound_file(dtype=">i2", scaled=False),
    sound_file(dtype="<i2", scaled=True),
    sound_file(nib.Nifti2Image, "<f8"),
]

ODD = st.sampled_from(
    [struct.pack(f"{order}{kind}", value) for order in "<>" for kind, values in {
        "h": (0, 1, -1, 4, 8, 32767, -32768), "i": (0, 1, -1, 348, 540, 2**31 - 1), "q": (0, -1, 2**62),
        "f": (0.0, -1.0, 1e-30, 3e38, float("nan"), float("inf"), 352.5), "d": (0.0, float("nan"), 1e308),
    }.items() for value in values]
)  # fmt: skip
"""Numbers at which a reader may stumble, as a header stores them."""

PATCHES = st.lists(st.tuples(st.integers(0, 560), st.one_of(ODD, st.binary(min_size=1, max_size=8))), max_size=6)
FIELDS = st.lists(  # the fields that decide what is read: sizes, type, offset, scaling, codes, affine, magic
    st.tuples(
        st.sampled_from([0, 4, 12, 16, 24, 40, 42, 44, 46, 48, 50, 70, 72, 76, 80, 92, 104, 108, 112, 116, 123, 168,
                         176, 184, 252, 254, 256, 268, 280, 296, 312, 344, 348, 400, 500, 504]),
        ODD,
    ),
    max_size=4,
)  # fmt: skip


def patched(content, patches):
    """Overwrite parts of a file."""
    changed = bytearray(content)
    for offset, piece in patches:
        changed[offset : offset + len(piece)] = piece
    return bytes(changed)


HEADERS = st.one_of(
    st.builds(patched, st.sampled_from(SOUND), FIELDS),
    st.builds(patched, st.sampled_from(SOUND), PATCHES),
    st.builds(lambda content, n: content[:n], st.sampled_from(SOUND), st.integers(0, 600)),
    st.binary(max_size=700),
)


def or_refused(path, read):
    """Give what a function makes of a file; None where it says in a sentence that names the file why it cannot."""
    refusal = ""
    try:
        return read(path)
    except UserError as error:
        refusal = str(error)
    assert path.name in refusal
    return None


def nibabel_says(path):
    """Load an image as nibabel does; None where it refuses."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        nib.imageglobals.logger.setLevel("CRITICAL")  # which repairs it makes is of no interest here
        try:
            return nib.load(path)
        except Exception:
            return None


def check_header(content):
    """A header is followed or refused; who follows it sees what nibabel sees."""
    with file_with(content, "run.nii") as path:
        for look in (inspect, inspect_volume, lambda one: open_series([one])):
            image = or_refused(path, look)
            if image is None:
                continue
            assert min(image.grid) > 0
            assert image.n_volumes > 0
            assert np.isfinite(image.affine).all()
            other = nibabel_says(path)
            if other is not None:
                shape = (*other.shape, 1, 1, 1, 1)[:4]
                assert (*image.grid, image.n_volumes) == shape
                assert np.allclose(image.affine, other.affine, rtol=1e-5, atol=1e-5)


def damaged(content, cuts, compress):
    """Compress a file, and damage what comes of it."""
    changed = bytearray(
        {"": bytes, ".gz": lambda c: gzip.compress(c, 1, mtime=0), ".bz2": bz2.compress}[compress](content)
    )
    for kind, where, piece in cuts:
        at = int(where * len(changed))
        if kind == "cut":
            del changed[at:]
        elif kind == "overwrite":
            changed[at : at + len(piece)] = piece
        else:
            changed[at:at] = piece
    return bytes(changed), f"run.nii{compress}"


CUTS = st.lists(
    st.tuples(st.sampled_from(["cut", "overwrite", "insert"]), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
    max_size=3,
)
FILES = st.builds(
    damaged, st.builds(patched, st.sampled_from(SOUND), FIELDS), CUTS, st.sampled_from(["", ".gz", ".bz2"])
)

LARGEST = 2**20
"""More values than this are not read in a test, whatever a header claims; the reader must say at once that they are missing."""


def check_reader(example):
    """What is read of a file is what nibabel reads of it, or it is refused."""
    content, name = example
    with file_with(content, name) as path:
        image = or_refused(path, inspect)
        read = image and or_refused(
            path, lambda _: [block.values.copy() for block in read_blocks(image, max_bytes=4096)]
        )
        if read is None:
            return
        n_values = image.n_volumes * image.n_voxels
        assert sum(values.size for values in read) == n_values
        other = nibabel_says(path)
        if other is None or n_values > LARGEST:
            return
        with np.errstate(all="ignore"):
            try:
                expected = np.asarray(other.dataobj)
            except Exception:
                return
        found = np.concatenate([values.ravel() for values in read])
        assert np.array_equal(found, expected.ravel(order="F"), equal_nan=True)


CELL = st.one_of(
    st.sampled_from(["", "n/a", "nan", "0", "1", "-1", "1e3", "1e999", "inf", "run.nii", "..", "/", " ", '"', '"x', "x\0y", "ü",
                     "٣", "²", "1_000", "image", "run", "index", "name", "label", "\ufeff", "9" * 400, "a" * 300]),
    st.text(max_size=8),
)  # fmt: skip
HEADS = st.sampled_from(
    [
        ["image", "run"],
        ["image", "run", "confounds"],
        ["image", "run", "t_r"],
        ["index", "name"],
        ["run", "first_volume", "n_volumes"],
        ["label", "name", "n_voxels_atlas", "n_voxels", "coverage", "status"],
        ["a", "b"],
        ["image", "image"],
        [],
    ]
)


def as_table(head, rows, separator, end, encoding, tail):
    """Write a table as some program might."""
    text = end.join(separator.join(row) for row in [head, *rows])
    return text.encode(encoding, errors="replace") + tail


TABLES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        as_table,
        HEADS,
        st.lists(st.lists(CELL, max_size=7), max_size=5),
        st.sampled_from(["\t", ",", ";", " "]),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
        st.sampled_from([b"", b"\n", b"\n\n", b"\0", b"\xff", b'"']),
    ),
)


def check_tables(content):
    """Each reader of tables takes what it is given, or says in a sentence that names the file what is wrong."""
    with file_with(content, "table.tsv") as path:
        (path.parent / "run.nii").write_bytes(SOUND[0])
        readers = [
            read_label_names,
            read_regions,
            read_run_lengths,
            lambda table: read_runs_table(table, SCHEMAS["runs"]),
            lambda table: read_runs_table(table, SCHEMAS["runs"], inspect_runs=False),
            lambda table: read_confounds([table]),
        ]
        for read in readers:
            or_refused(path, read)


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 50),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["simulated", "adhd", "basc", "all", "stream", "mmap", "mean", "keep", "error", "1", "null", "on", "~",
                     "x\0y", "/", ".", "a" * 300, "{image}", "0.01", "1e-2", "20240101"]),
)  # fmt: skip
VALUE = st.one_of(
    SCALAR,
    st.lists(SCALAR, max_size=3),
    st.dictionaries(
        st.one_of(st.sampled_from(list(SCHEMAS["config"]["properties"]["cleaning"]["properties"])), SCALAR),
        SCALAR,
        max_size=3,
    ),
)
CONFIGS = st.dictionaries(st.one_of(st.sampled_from(list(DEFAULTS)), st.text(max_size=5)), VALUE, max_size=4)


def check_config(changes):
    """Any configuration is one, or is refused by a sentence before there is a job."""
    config = {**DEFAULTS, **changes}
    try:
        plan = make_plan(config, SCHEMAS)
        found = plan.names, plan.strategies, plan.atlas_name
    except UserError:
        return
    assert all(found)


PROPERTIES = {
    "header": (check_header, HEADERS),
    "reader": (check_reader, FILES),
    "tables": (check_tables, TABLES),
    "config": (check_config, CONFIGS),
}
