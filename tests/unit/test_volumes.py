"""The block reader and writer against nibabel."""

import bz2
import gzip
import io
import threading

import hypothesis.extra.numpy as hnp
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import AFFINE, save_run
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.volumes import read_blocks, stream_blocks
from roistream.images.writing import header_like, new_header, write_image

DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
KINDS = {
    "nifti1": (nib.Nifti1Header, ".nii"),
    "nifti2": (nib.Nifti2Header, ".nii"),
    "pair1": (nib.nifti1.Nifti1PairHeader, ".img"),
    "pair2": (nib.nifti2.Nifti2PairHeader, ".img"),
}


def read_all(image, **options):
    """Put the blocks together as an array of the image's shape."""
    volumes = np.zeros((image.n_volumes, image.n_voxels), image.dtype)
    visited = np.zeros(volumes.shape, int)
    for block in read_blocks(image, **options):
        n_volumes, n_voxels = block.values.shape
        piece = np.s_[
            block.first_volume : block.first_volume + n_volumes, block.first_voxel : block.first_voxel + n_voxels
        ]
        volumes[piece] = block.values
        visited[piece] += 1
        assert block.values.dtype == image.dtype
    assert (visited == 1).all()
    return volumes.T.reshape((*image.grid, image.n_volumes), order="F")


def write_raw(folder, kind, shape, dtype, order, scaling, compression, extension, values, form="sform"):
    """Write a NIfTI byte by byte, in variants that nibabel's own writer would tidy up."""
    header_class, ending = KINDS[kind]
    header = header_class(endianness=order)
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    if form == "sform":
        header.set_sform(AFFINE, code=1)
    elif form == "qform":
        header.set_qform(AFFINE, code=1)
    if len(shape) > 3:
        header.set_zooms((3, 3, 3, 2.52, *header.get_zooms()[4:]))
        header.set_xyzt_units("mm", "sec")
    if scaling:
        header["scl_slope"], header["scl_inter"] = scaling
    raw = values.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F")
    close = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress}[compression]
    suffix = f".{compression}" if compression else ""
    if ending == ".img":
        (folder / f"run.hdr{suffix}").write_bytes(close(header.binaryblock + b"\0" * 4))
        path = folder / f"run.img{suffix}"
        path.write_bytes(close(raw))
        return path
    extra = b""
    if extension:  # a comment of 16 bytes, as a scanner's converter may leave one
        extra = np.array([16, 6], f"{order}i4").tobytes() + b"comment\0"
    header["vox_offset"] = header.single_vox_offset + len(extra)
    path = folder / f"run.nii{suffix}"
    path.write_bytes(close(header.binaryblock + bytes([bool(extra), 0, 0, 0]) + extra + raw))
    return path


@st.composite
def images(draw):
    """Draw all that can vary in an image on disk."""
    grid = draw(st.tuples(*[st.integers(1, 5)] * 3))
    trailing = draw(st.sampled_from([(), (1,), (1, 1)]))
    dtype = draw(st.sampled_from(DTYPES))
    scalings = [None, (0.0, 0.0), (1.0, 0.0), (0.0754, 3100.76), (2.0, 0.0), (1.0, -5.5), (np.nan, 3.0)]
    shape = (*grid, draw(st.integers(1, 6)), *trailing)
    elements = st.floats(-1000, 1000) if dtype[0] == "f" else st.integers(0, 100)
    return {
        "kind": draw(st.sampled_from(sorted(KINDS))),
        "shape": shape,
        "dtype": dtype,
        "order": draw(st.sampled_from("<>")),
        "scaling": draw(st.sampled_from(scalings)),
        "compression": draw(st.sampled_from(["", "gz", "bz2"])),
        "extension": draw(st.booleans()),
        "form": draw(st.sampled_from(["sform", "qform", "none"])),
        "values": draw(hnp.arrays("f8", shape, elements=elements)),
    }


@settings(max_examples=300, deadline=None)
@given(image=images(), max_bytes=st.integers(1, 3000), whole_volumes=st.booleans())
def test_blocks_are_what_nibabel_reads(tmp_path_factory, image, max_bytes, whole_volumes):
    path = write_raw(tmp_path_factory.mktemp("image"), **image)
    expected = np.asarray(nib.load(path).dataobj)
    found = inspect(path)
    values = read_all(found, max_bytes=max_bytes, whole_volumes=whole_volumes)
    assert values.dtype == expected.dtype
    assert np.array_equal(values, expected.reshape(expected.shape[:4]), equal_nan=True)
    assert np.array_equal(found.affine, nib.load(path).affine)
    assert found.t_r == 2.52


@pytest.mark.parametrize("max_bytes", [100, 5000, 2**20])
def test_blocks_keep_to_the_budget(tmp_path, rng, max_bytes):
    path = save_run(tmp_path / "run.nii", rng.integers(0, 9, (5, 6, 7, 11)).astype(np.int16))
    blocks = [block.values for block in read_blocks(inspect(path), max_bytes)]
    assert max(values.nbytes for values in blocks) <= max_bytes
    whole = [block.values.shape[1] for block in read_blocks(inspect(path), max_bytes, whole_volumes=True)]
    assert set(whole) == {5 * 6 * 7}


def test_who_stops_early_leaves_no_thread_behind(tmp_path, rng):
    path = save_run(tmp_path / "run.nii.gz", rng.integers(0, 9, (5, 6, 7, 11)).astype(np.int16))
    before = set(threading.enumerate())
    blocks = read_blocks(inspect(path), max_bytes=600)
    next(blocks)
    [reader] = set(threading.enumerate()) - before
    blocks.close()
    assert not reader.is_alive()


def test_real_scaled_run_of_nibabel():
    path = nib.__path__[0] + "/tests/data/functional.nii"
    assert np.array_equal(read_all(inspect(path)), np.asarray(nib.load(path).dataobj))
    assert inspect(path).layout.dtype == np.float64
    assert inspect(path).t_r == 2.0


def test_real_run(shared_data):
    path = shared_data / "sub-001_task-rest_bold.nii.gz"
    image = inspect(path)
    assert np.array_equal(read_all(image), np.asarray(nib.load(path).dataobj))
    assert (image.t_r, image.n_volumes, image.grid) == (2.52, 20, (46, 46, 26))


class ForwardOnly(io.RawIOBase):
    """A stream that can do nothing but go on, and gives a few bytes at a time, as a socket does."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, target):
        return self.content.readinto(memoryview(target)[:7])


def test_a_forward_only_stream_is_enough(tmp_path, rng):
    data = rng.standard_normal((3, 4, 5, 6)).astype(np.float32)
    path = save_run(tmp_path / "run.nii", data)
    stream = ForwardOnly(path.read_bytes())
    blocks = [block.values.copy() for block in stream_blocks(stream, inspect(path).layout, "a socket", max_bytes=600)]
    assert np.array_equal(np.concatenate(blocks), data.reshape(-1, 6, order="F").T)


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz", "run.nii.bz2"])
def test_a_truncated_file_names_file_and_volumes(tmp_path, rng, name):
    path = save_run(tmp_path / name, rng.standard_normal((60, 61, 62, 8)).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(UserError, match=r"run\.nii.* ends early: 8 volumes expected, [34] complete"):
        read_all(inspect(path))


def test_the_volume_reached_is_exact_for_a_plain_file(tmp_path, rng):
    path = save_run(tmp_path / "run.nii", rng.standard_normal((4, 5, 6, 8)).astype(np.float32))
    path.write_bytes(path.read_bytes()[: 352 + 5 * 4 * 5 * 6 * 4 + 17])
    for max_bytes in (50, 1000, 10**6):
        with pytest.raises(UserError, match="8 volumes expected, 5 complete"):
            read_all(inspect(path), max_bytes=max_bytes)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_lost_check_sum_is_noticed(tmp_path, rng, cut):
    path = save_run(tmp_path / "run.nii.gz", rng.standard_normal((40, 41, 42, 8)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"ends early: 8 volumes expected, [78] complete"):
        read_all(inspect(path))


def test_a_corrupt_block_is_noticed(tmp_path, rng):
    path = save_run(tmp_path / "run.nii.gz", rng.standard_normal((10, 11, 12, 8)).astype(np.float32))
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 2, len(content) // 2 + 40):
        content[position] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.nii\.gz (is damaged .*|ends early): 8 volumes expected, [0-8] "):
        read_all(inspect(path))


def test_one_flipped_bit_is_noticed_by_the_check_sum(tmp_path, rng):
    data = rng.standard_normal((4, 5, 6, 8)).astype(np.float32)
    plain = save_run(tmp_path / "run.nii", data).read_bytes()
    stored = bytearray(gzip.compress(plain, compresslevel=0))
    stored[-1000] ^= 1
    path = tmp_path / "run.nii.gz"
    path.write_bytes(stored)
    with pytest.raises(UserError, match=r"is damaged \(.*\): 8 volumes expected"):
        read_all(inspect(path))


def test_gzip_of_several_members_is_read_to_its_end(tmp_path, rng):
    data = rng.standard_normal((4, 5, 6, 8)).astype(np.float32)
    plain = save_run(tmp_path / "run.nii", data).read_bytes()
    path = tmp_path / "run.nii.gz"
    path.write_bytes(gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]))
    assert np.array_equal(read_all(inspect(path)), data)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 4, 5), "f4", "is 3D"),
        ((3, 4, 5, 2, 2), "f4", "is 5D"),
        ((3, 4, 5, 2), "c8", "its data type, code 32, is none of"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, shape, dtype, message):
    nib.Nifti1Image(np.zeros(shape, dtype), AFFINE).to_filename(tmp_path / "run.nii")
    with pytest.raises(UserError, match=message):
        inspect(tmp_path / "run.nii")


@pytest.mark.parametrize("content", [b"", b"no image at all", gzip.compress(b"x" * 100, mtime=0)[:20]])
def test_an_unreadable_file_is_refused(tmp_path, content):
    (tmp_path / "run.nii.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.nii\.gz cannot be read as an image"):
        inspect(tmp_path / "run.nii.gz")
    with pytest.raises(UserError, match=r"absent\.nii does not exist"):
        inspect(tmp_path / "absent.nii")


@pytest.mark.parametrize(
    ("unit", "stored", "seconds"), [("sec", 2.52, 2.52), ("msec", 2520, 2.52), ("unknown", 2, 2.0)]
)
def test_repetition_time_is_in_seconds(tmp_path, unit, stored, seconds):
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 2), np.float32), AFFINE)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((3, 3, 3, stored))
    image.to_filename(tmp_path / "run.nii")
    assert inspect(tmp_path / "run.nii").t_r == pytest.approx(seconds, rel=1e-12)


def test_repetition_time_may_be_unset(tmp_path):
    assert inspect(save_run(tmp_path / "run.nii", np.zeros((2, 2, 2, 2), np.float32), t_r=0)).t_r is None


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=4, max_dims=4, max_side=6)),
    ending=st.sampled_from([".nii", ".nii.gz"]),
    n_pieces=st.integers(1, 5),
)
def test_what_is_written_is_what_nibabel_reads(tmp_path_factory, values, ending, n_pieces):
    path = tmp_path_factory.mktemp("written") / f"image{ending}"
    pieces = np.array_split(values.ravel(order="F"), n_pieces)
    write_image(path, new_header(values.shape, values.dtype, AFFINE, t_r=2.5), pieces)
    loaded = nib.load(path)
    assert loaded.get_data_dtype() == values.dtype
    assert np.array_equal(np.asarray(loaded.dataobj), values, equal_nan=values.dtype.kind == "f")
    assert np.array_equal(loaded.affine, AFFINE)
    assert loaded.header.get_zooms()[3] == 2.5
    assert loaded.header.get_xyzt_units() == ("mm", "sec")


def test_equal_content_gives_equal_bytes(tmp_path):
    header = new_header((2, 3, 4, 5), np.int16, AFFINE)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, header, [np.arange(120, dtype=np.int16)])
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    "pieces", [[np.zeros(119, "i2")], [np.zeros(120, "i2"), np.zeros(1, "i2")], [np.zeros(120, "f4")]]
)
def test_nothing_is_left_of_an_image_that_is_not_whole(tmp_path, pieces):
    with pytest.raises(ValueError, match=r"piece|bytes of data"):
        write_image(tmp_path / "image.nii.gz", new_header((2, 3, 4, 5), np.int16, AFFINE), pieces)
    assert list(tmp_path.iterdir()) == []


def test_more_volumes_than_nifti1_can_count(tmp_path):
    n_volumes = 40_000
    pieces = [np.full((n_volumes, 1), 7, np.uint8)]
    write_image(tmp_path / "long.nii.gz", new_header((1, 1, 1, n_volumes), np.uint8, AFFINE), pieces)
    assert nib.load(tmp_path / "long.nii.gz").shape == (1, 1, 1, n_volumes)
    assert isinstance(nib.load(tmp_path / "long.nii.gz"), nib.Nifti2Image)


def test_a_header_like_another_keeps_geometry_codes_and_time(tmp_path, rng):
    path = save_run(tmp_path / "run.nii", rng.standard_normal((3, 4, 5, 6)).astype(np.float32), t_r=1.25)
    loaded = nib.load(path)
    loaded.set_sform(AFFINE, code="mni")
    loaded.header["descrip"] = b"kept"
    loaded.to_filename(path)
    header = header_like(inspect(path), 9, np.dtype(np.int16), 0.5, 3.0)
    assert header.get_data_shape() == (3, 4, 5, 9)
    assert header.get_data_dtype() == np.int16
    assert header.get_slope_inter() == (0.5, 3.0)
    assert header["sform_code"] == 4
    assert header["descrip"] == b"kept"
    assert header.get_zooms()[3] == 1.25
    assert np.array_equal(header.get_best_affine(), AFFINE)


@pytest.mark.parametrize("broken", [np.diag([3.0, 3, 0, 1]), np.diag([3.0, np.nan, 3, 1])])
def test_an_affine_that_maps_no_volume_is_refused(tmp_path, broken):
    header = new_header((2, 3, 4, 5), np.int16, AFFINE)
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = broken[row]
    write_image(tmp_path / "run.nii", header, [np.arange(120, dtype=np.int16)])
    with pytest.raises(UserError, match=r"run\.nii has an affine that maps no volume"):
        inspect(tmp_path / "run.nii")
