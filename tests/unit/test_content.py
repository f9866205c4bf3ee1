"""What a file is: by its ending and by its content, which must agree; and what the system says when it cannot be read."""

import bz2
import errno
import gzip
import io
import os
import stat
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, GRID, save_run
from roistream.errors import UserError
from roistream.images.files import files_of, open_stream
from roistream.images.image import inspect
from roistream.images.series import open_series
from roistream.images.volumes import read_blocks, stream_blocks

N_VOLUMES = 6
VOLUME = 4 * int(np.prod(GRID))


@pytest.fixture
def data(rng):
    return rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32)


@pytest.fixture
def plain(tmp_path, data):
    """The bytes of an image without compression."""
    path = save_run(tmp_path / "plain.nii", data)
    return path.read_bytes()


def read_all(path):
    image = inspect(path)
    values = np.concatenate([block.values.copy() for block in read_blocks(image)])
    return values.T.reshape((*image.grid, -1), order="F")


# Names


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("a3f0ba7b052af6f1", bytes),
        ("a3f0ba7b052af6f1", gzip.compress),
        ("run.nifti", bz2.compress),
        ("run.NII", bytes),
        ("run.Nii.Gz", gzip.compress),
        ("RUN.NII.BZ2", bz2.compress),
        ("run [1] *?{a}~$HOME.nii", bytes),
        ("läuft é 走.nii.gz", gzip.compress),
        ("run.nii.gz.part-2", gzip.compress),
    ],
)
def test_a_sound_image_is_read_whatever_its_name(tmp_path, plain, data, name, compress):
    path = tmp_path / name
    path.write_bytes(compress(plain))
    assert np.array_equal(read_all(path), data)


@pytest.mark.parametrize("names", [("run.hdr", "run.img"), ("RUN.HDR", "RUN.IMG"), ("Run.Hdr", "Run.Img")])
@pytest.mark.parametrize("ending", ["", ".gz", ".BZ2"])
def test_pairs_in_letters_of_any_case(tmp_path, data, names, ending):
    nib.Nifti1Pair(data, AFFINE).to_filename(tmp_path / "pair.hdr")
    compress = {"": bytes, ".gz": gzip.compress, ".BZ2": bz2.compress}[ending]
    paths = [tmp_path / f"{name}{ending}" for name in names]
    for path, kind in zip(paths, ("hdr", "img"), strict=True):
        path.write_bytes(compress((tmp_path / f"pair.{kind}").read_bytes()))
    for path in paths:
        assert files_of(path) == tuple(paths)
        assert np.array_equal(read_all(path), data)


def test_a_pair_of_mixed_letters(tmp_path, data):
    nib.Nifti1Pair(data, AFFINE).to_filename(tmp_path / "pair.hdr")
    (tmp_path / "pair.img").rename(tmp_path / "pair.IMG")
    assert np.array_equal(read_all(tmp_path / "pair.hdr"), data)
    (tmp_path / "pair.IMG").unlink()
    with pytest.raises(UserError, match=r"pair\.img does not exist"):
        inspect(tmp_path / "pair.hdr")


CONTENTS = {
    "gzip under .nii": ("run.nii", gzip.compress, "gzip"),
    "bzip2 under .nii": ("run.nii", bz2.compress, "bzip2"),
    "plain under .nii.gz": ("run.nii.gz", bytes, "without compression"),
    "plain under .bz2": ("run.nii.bz2", bytes, "without compression"),
    "bzip2 under .gz": ("run.NII.GZ", bz2.compress, "bzip2"),
    "gzip under .bz2": ("run.nii.bz2", gzip.compress, "gzip"),
    "zstd": ("run.nii.gz", lambda _: b"\x28\xb5\x2f\xfd" + bytes(600), "zstd"),
    "a web page": ("run.nii.gz", lambda _: b"\n<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "git-annex": ("run.nii.gz", lambda _: b"/annex/objects/MD5E-s123--abc.nii.gz\n", "git-annex"),
    "git-annex link": ("run.nii.gz", lambda _: b"../../.git/annex/objects/a/b/MD5E-s1--abc.nii.gz", "git-annex"),
    "Git LFS": ("run.nii.gz", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
    "text": ("run.nii.gz", lambda _: b"404: not found", "text"),
    "nothing": ("run.nii.gz", lambda _: b"", "empty"),
    "zeros": ("run.nii.gz", lambda _: bytes(1000), "something else"),
}


@pytest.mark.parametrize("case", list(CONTENTS))
def test_content_that_contradicts_its_ending_is_named(tmp_path, plain, case):
    name, make, named = CONTENTS[case]
    path = tmp_path / name
    path.write_bytes(make(plain))
    with pytest.raises(UserError, match=rf"{path.name} (cannot be read as an image|is not the content).*{named}"):
        inspect(path)


@pytest.mark.parametrize("case", ["a web page", "git-annex", "git-annex link", "Git LFS", "text", "nothing", "zstd"])
@pytest.mark.parametrize("name", ["run.nii", "run"])
def test_what_is_no_image_is_named_without_an_ending_too(tmp_path, plain, case, name):
    _, make, named = CONTENTS[case]
    (tmp_path / name).write_bytes(make(plain))
    with pytest.raises(UserError, match=rf"{name} (cannot be read as an image|is not the content).*{named}"):
        inspect(tmp_path / name)


def test_numbers_that_look_like_gzip_are_numbers(tmp_path):
    data = np.full((*GRID, N_VOLUMES), 0x8B1F, np.uint16)
    nib.Nifti1Pair(data, AFFINE).to_filename(tmp_path / "pair.img")
    assert np.array_equal(read_all(tmp_path / "pair.img"), data)


# What a header claims


def claim(plain, dim=None, offset=None, **raw):
    """Change the shape, and where the data begin, in the bytes of a header."""
    content = bytearray(plain)
    if dim is not None:
        content[40 : 40 + 2 * len(dim)] = struct.pack(f"<{len(dim)}h", *dim)
    if offset is not None:
        content[108:112] = struct.pack("<f", offset)
    return bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        {"dim": (4, 6, -7, 5, 6)},
        {"dim": (4, 6, 0, 5, 6)},
        {"dim": (0, 6, 7, 5, 6)},
        {"dim": (9, 6, 7, 5, 6)},
        {"dim": (4, 32767, 32767, 32767, 32767)},
        {"dim": (4, 32767, 32767, 2000, 1)},
        {"offset": np.inf},
        {"offset": -np.inf},
        {"offset": np.nan},
        {"offset": 1e30},
        {"offset": 1e12},
        {"offset": -352.0},
        {"offset": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nii.bz2"])
def test_an_impossible_claim_is_one_sentence_before_anything_is_made(tmp_path, plain, change, ending):
    path = tmp_path / f"run.{ending}"
    compress = {"nii": bytes, "nii.gz": gzip.compress, "nii.bz2": bz2.compress}[ending]
    path.write_bytes(compress(claim(plain, **change)))
    with pytest.raises(UserError, match=r"run\.nii") as error:
        inspect(path)
    assert "\n" not in str(error.value)


def test_a_claim_of_nifti2_beyond_all_numbers(tmp_path, data):
    nib.Nifti2Image(data, AFFINE).to_filename(tmp_path / "run.nii")
    content = bytearray((tmp_path / "run.nii").read_bytes())
    content[16:56] = struct.pack("<5q", 4, 2**62, 2**62, 2**62, 2**62)
    (tmp_path / "run.nii").write_bytes(content)
    with pytest.raises(UserError, match="ends early"):
        inspect(tmp_path / "run.nii")


def test_a_plain_file_that_is_cut_off_is_told_from_its_header(tmp_path, plain):
    (tmp_path / "run.nii").write_bytes(plain[: 352 + 4 * VOLUME + 5])
    with pytest.raises(UserError, match="6 volumes expected, 4 complete"):
        inspect(tmp_path / "run.nii")


@pytest.mark.parametrize("ending", ["nii.gz", "nii.bz2"])
def test_zeros_are_as_small_as_they_can_be(tmp_path, ending):
    """The densest that a compression can be is no impossible claim."""
    path = save_run(tmp_path / f"run.{ending}", np.zeros((64, 64, 64, 40), np.float32))
    assert inspect(path).n_volumes == 40


# What follows


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nii.bz2"])
@pytest.mark.parametrize("n_bytes", [1, VOLUME - 1])
def test_bytes_behind_the_last_volume_are_told(tmp_path, plain, data, ending, n_bytes, caplog):
    compress = {"nii": bytes, "nii.gz": gzip.compress, "nii.bz2": bz2.compress}[ending]
    path = tmp_path / f"run.{ending}"
    path.write_bytes(compress(plain + bytes(n_bytes)))
    assert np.array_equal(read_all(path), data)
    [record] = caplog.records
    assert f"{n_bytes} bytes follow the last volume" in record.getMessage()


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nii.bz2"])
@pytest.mark.parametrize("more", [1, 2.5])
def test_volumes_that_the_header_does_not_tell_of_are_an_error(tmp_path, plain, ending, more):
    compress = {"nii": bytes, "nii.gz": gzip.compress, "nii.bz2": bz2.compress}[ending]
    path = tmp_path / f"run.{ending}"
    path.write_bytes(compress(plain + bytes(int(more * VOLUME))))
    with pytest.raises(UserError, match=rf"6 volumes expected, at least {6 + int(more)} are there"):
        read_all(path)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_bytes_behind_a_sound_stream_are_told(tmp_path, plain, data, compress, caplog):
    path = tmp_path / "run"
    path.write_bytes(compress(plain) + b"signature")
    assert np.array_equal(read_all(path), data)
    [record] = caplog.records
    assert "9 bytes follow the end of its compressed data" in record.getMessage()


def test_the_count_of_volumes_is_right_where_other_bytes_follow(tmp_path, plain):
    path = tmp_path / "run.nii.gz"
    path.write_bytes(gzip.compress(plain[: 352 + 3 * VOLUME + 7]) + b"signature")
    with pytest.raises(UserError, match="6 volumes expected, 3 complete"):
        read_all(path)


# The system


class Failing(io.BytesIO):
    """A disk that fails after some bytes."""

    def __init__(self, content, number):
        super().__init__(content)
        self.number = number

    def readinto(self, target):
        if self.tell() > 1500:
            raise OSError(self.number, os.strerror(self.number))
        return super().readinto(memoryview(target)[:500])


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_an_error_of_the_disk_is_no_damage(tmp_path, plain, number):
    layout = inspect(tmp_path / "plain.nii").layout
    with pytest.raises(UserError, match=rf"^a disk could not be read: .*errno {number}") as error:
        for _ in stream_blocks(Failing(plain, number), layout, "a disk"):
            pass
    assert "damaged" not in str(error.value)
    assert "download" not in str(error.value)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
@pytest.mark.parametrize("of_a_pair", [False, True])
def test_an_error_of_the_system_for_real(tmp_path, data, of_a_pair):
    """The kernel answers with EIO where a process asks for memory that it does not have."""
    nib.Nifti1Pair(data, AFFINE).to_filename(tmp_path / "pair.hdr")
    (tmp_path / "pair.img").unlink()
    path = tmp_path / ("pair.img" if of_a_pair else "run.nii.gz")
    path.symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=rf"{path.name} .*could not be read: Input/output error"):
        inspect(path)


def test_gzip_of_a_failing_disk_is_no_damage(tmp_path, plain):
    """… where the decompressor stands between."""
    from roistream.images.members import GzipStream

    class Raw(io.RawIOBase):
        def __init__(self, content):
            self.content = io.BytesIO(content)

        def readinto(self, target):
            if self.content.tell() >= 2000:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return self.content.readinto(memoryview(target)[:1000])

    layout = inspect(tmp_path / "plain.nii").layout
    with pytest.raises(UserError, match=r"could not be read: Input/output error"):
        for _ in stream_blocks(GzipStream(Raw(gzip.compress(plain))), layout, "a disk"):
            pass


def test_paths_that_lead_to_no_image(tmp_path):
    dangling, loop, pipe, folder = (
        tmp_path / name for name in ("dangling.nii.gz", "loop.nii", "pipe.nii", "folder.nii")
    )
    dangling.symlink_to(".git/annex/objects/xx/MD5E-s1--abc.nii.gz")
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    folder.mkdir()
    for path, message in (
        (dangling, "is a link of git-annex whose content was not fetched"),
        (loop, "is a link that leads back to itself"),
        (pipe, "is a pipe"),
        (folder, "is a folder"),
        (tmp_path / ("x" * 300 + ".nii"), "too long"),
        (tmp_path / "absent" / "run.nii", "does not exist"),
        (tmp_path / "absent.hdr", "does not exist"),
        (tmp_path / "a\0b.nii", "cannot be a path"),
    ):
        with pytest.raises(UserError, match=message):
            inspect(path)
        with pytest.raises(UserError, match=message):
            open_series([path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, plain):
    (tmp_path / "plain.nii").chmod(stat.S_IWUSR)
    with pytest.raises(UserError, match="may not be read"):
        inspect(tmp_path / "plain.nii")


def test_a_file_that_vanishes_after_a_look(tmp_path, plain):
    image = inspect(tmp_path / "plain.nii")
    (tmp_path / "plain.nii").unlink()
    with pytest.raises(UserError, match="does not exist"), open_stream(image.data_path):
        pass
