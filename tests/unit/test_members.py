"""Compressed files, member by member: every byte before the trouble, and what the trouble is."""

import bz2
import gzip
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roistream.images.files import open_stream
from roistream.images.members import DamagedStreamError

COMPRESS = {"gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress}
JUNK = b"\x01 not a member"


def noise(n_bytes, seed=1):
    """Bytes that hardly get smaller: a file cut in the middle holds about half of them."""
    return np.random.default_rng(seed).bytes(n_bytes)


def read(path, step=2**18):
    """Read to the end or to the trouble; give what was read, the trouble, and the bytes behind the end."""
    found, buffer = bytearray(), bytearray(step)
    with open_stream(path) as stream:
        try:
            while n_bytes := stream.readinto(buffer):
                found += buffer[:n_bytes]
        except (EOFError, DamagedStreamError) as error:
            return bytes(found), type(error), None
        return bytes(found), None, stream.trailing


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 1000, 70_000, 600_000]), min_size=1, max_size=3),
    step=st.sampled_from([1000, 2**18, 2**20]),
    ending=st.sampled_from(["gz", "bz2"]),
    behind=st.sampled_from([b"", JUNK, b"x", b"\x1f", b"BZ"]),
)
def test_members_are_one_stream_and_what_follows_is_counted(tmp_path_factory, sizes, step, ending, behind):
    parts = [noise(size, seed) for seed, size in enumerate(sizes)]
    path = tmp_path_factory.mktemp("m") / f"file.{ending}"
    path.write_bytes(b"".join(map(COMPRESS[ending], parts)) + behind)
    assert read(path, step) == (b"".join(parts), None, len(behind))


@pytest.mark.parametrize("n_zeros", [1, 512, 200_000])
def test_zeros_behind_a_member_of_gzip_are_padding(tmp_path, n_zeros):
    data, zeros = noise(300_000), bytes(n_zeros)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(data) + zeros)
    assert read(path) == (data, None, 0)
    path.write_bytes(gzip.compress(data) + zeros + gzip.compress(data) + zeros + JUNK)
    assert read(path) == (2 * data, None, len(JUNK))


@pytest.mark.parametrize("lost", [1, 4, 8])
def test_of_a_gzip_that_lost_its_end_all_data_come_out(tmp_path, lost):
    data = noise(700_000)
    (tmp_path / "file.gz").write_bytes(gzip.compress(data)[:-lost])
    assert read(tmp_path / "file.gz") == (data, EOFError, None)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.01, 0.99), ending=st.sampled_from(["gz", "bz2"]))
def test_of_a_file_that_is_cut_off_the_beginning_comes_out(tmp_path_factory, share, ending):
    data = noise(1_000_000)
    path = tmp_path_factory.mktemp("c") / f"file.{ending}"
    content = COMPRESS[ending](data)
    path.write_bytes(content[: int(len(content) * share)])
    found, trouble, _ = read(path)
    assert trouble is EOFError
    assert data.startswith(found)
    if ending == "gz":  # of bzip2 a block of 900,000 bytes comes at once
        assert len(found) >= share * len(data) - 70_000


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("place", ["data", "check sum", "length"])
def test_a_flipped_bit_is_damage_and_all_data_are_read(tmp_path, level, place):
    data = bytes(range(256)) * 3000
    content = bytearray(gzip.compress(data, level))
    position = {"data": len(content) // 2, "check sum": -8, "length": -1}[place]
    content[position] ^= 4
    (tmp_path / "file.gz").write_bytes(content)
    found, trouble, _ = read(tmp_path / "file.gz")
    assert trouble in ((DamagedStreamError, EOFError) if place == "data" else (DamagedStreamError,))
    if place != "data":
        assert found == data


def test_headers_of_gzip_with_all_that_they_may_have(tmp_path):
    """File name, comment, extra field and check sum of the header, which the patient reader skips itself."""
    data = noise(100_000)
    plain = gzip.compress(data, mtime=0)
    header = plain[:3] + bytes([2 | 4 | 8 | 16]) + plain[4:10] + b"\x05\x00extra" + b"name\0" + b"comment\0"
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    (tmp_path / "file.gz").write_bytes(header + plain[10:] + JUNK)
    assert read(tmp_path / "file.gz") == (data, None, len(JUNK))


def test_a_broken_bzip2_is_damage(tmp_path):
    content = bytearray(bz2.compress(noise(100_000)))
    content[5000] ^= 1
    (tmp_path / "file.bz2").write_bytes(content)
    assert read(tmp_path / "file.bz2")[1] is DamagedStreamError


def test_files_are_closed(tmp_path):
    """… also where the patient reader took over; a warning would fail this test."""
    (tmp_path / "file.gz").write_bytes(gzip.compress(noise(1000)) + JUNK)
    with open_stream(tmp_path / "file.gz") as stream:
        assert io.BufferedReader(stream).read() == noise(1000)
