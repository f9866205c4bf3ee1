"""Disks that are full, too small, missing or not to be written, each for real and for every way to extract.

After each fault: one sentence that says what to do, nothing that looks finished, nothing left in /dev/shm or among the temporary
files, no process; and the same command, when the fault is mended, gives what an undisturbed run gives.
"""

import shutil

import pytest

from faults.conftest import by_method
from faults.extractions import assert_nothing_looks_finished, assert_undisturbed, command_of

REMEDIES = ("run again", "make room", "work in another folder", "enlarge it", "make it writable")


def assert_told(ended, *words):
    """The first error is the sentence; what measure_memory.py adds tells of the command as a whole."""
    assert ended.status != 0, ended.output
    assert "Traceback" not in ended.output
    sentence, *rest = ended.errors
    assert len(rest) <= 1, ended.output
    for word in words:
        assert word in sentence
    assert any(remedy in sentence for remedy in REMEDIES), sentence


def assert_clean(place):
    assert place.wait_until_empty() == []
    assert place.left() == []


@by_method(slow=["nifti_masker_in_memory", "numpy_path"])
def test_disk_after_disk(place, inputs, undisturbed, tmp_path, method):
    """A folder that not even root can write to, a disk of one page, one with room for half of the results; then a large one."""
    expected = undisturbed(method)
    out = tmp_path / "out"
    out.mkdir()
    place.read_only(out)
    ended = place.run(command_of(method, inputs, out))
    assert_told(ended, "read-only", str(out))
    assert list(out.iterdir()) == []
    assert_clean(place)
    place.disk(out, "4k")
    for size_kib in (4, max(4, sum(map(len, expected.values())) // 2048)):
        place.enlarge(out, f"{size_kib}k")
        ended = place.run(command_of(method, inputs, out))
        assert_told(ended, "No space is left on the disk of", str(out))
        assert_nothing_looks_finished(method, place.seen(out), expected)
        assert_clean(place)
    place.enlarge(out, "64m")
    ended = place.run(command_of(method, inputs, out))
    assert ended.status == 0, ended.output
    assert_undisturbed(method, place.seen(out), expected)


LARGE = ["nifti_masker_in_memory", "numpy_in_memory"]
"""Methods that lay down the image for their workers: in /dev/shm, or among the temporary files where that is small."""


@by_method(["numpy_in_memory", "shared_memory", "mmap"], slow=["nifti_masker_in_memory", "numpy_path"])
def test_no_room_in_shared_memory(place, inputs, undisturbed, tmp_path, method):
    """Workers need semaphores there; and some methods put the image there, or among the temporary files, which are full, too."""
    out = tmp_path / "out"
    out.mkdir()
    place.disk("/dev/shm", "4k")
    filler = place.seen("/dev/shm") / "filler"
    filler.write_bytes(b"\0" * 4096)
    ended = place.run(command_of(method, inputs, out))
    assert_told(ended, "/dev/shm")
    assert_nothing_looks_finished(method, out, undisturbed(method))
    assert place.left() == [filler]
    assert place.wait_until_empty() == []
    filler.unlink()
    if method in LARGE:
        place.enlarge("/dev/shm", "500k")
        place.disk(place.temporary, "1m")
        ended = place.run(command_of(method, inputs, out))
        assert_told(ended, "No space is left", str(place.temporary), "TMPDIR")
        assert_nothing_looks_finished(method, out, undisturbed(method))
        assert_clean(place)
        place.enlarge(place.temporary, "64m")
    else:
        place.enlarge("/dev/shm", "64m")
    ended = place.run(command_of(method, inputs, out))
    assert ended.status == 0, ended.output
    assert_undisturbed(method, out, undisturbed(method))
    assert_clean(place)


@by_method(["stream", "timeseries", "numpy_in_memory"])
@pytest.mark.parametrize("how", ["missing", "full", "read-only"])
def test_no_place_for_temporary_files(place, inputs, undisturbed, tmp_path, method, how):
    """Nobody needs one but those of `LARGE`, and they only where /dev/shm is small."""
    out = tmp_path / "out"
    out.mkdir()
    if how == "missing":
        shutil.rmtree(place.temporary)
    elif how == "full":
        place.disk(place.temporary, "4k")
        (place.seen(place.temporary) / "filler").write_bytes(b"\0" * 4096)
    else:
        place.read_only(place.temporary)
    ended = place.run(command_of(method, inputs, out))
    assert ended.status == 0, ended.output
    assert_undisturbed(method, out, undisturbed(method))
    place.temporary.mkdir(exist_ok=True)


def test_two_jobs_fill_shared_memory_at_once(place, inputs, undisturbed, tmp_path):
    """There was room for the image when each of them looked; who comes too late is told, and not ended by a bus error."""
    image_kib = inputs.plain.stat().st_size // 1024
    place.disk("/dev/shm", f"{int(1.5 * image_kib)}k")
    outs = [tmp_path / name for name in "abcd"]
    for out in outs:
        out.mkdir()
    jobs = [place.start(command_of("shared_memory", inputs, out)) for out in outs]
    for out, job in zip(outs, jobs, strict=True):
        output, _ = job.communicate(timeout=300)
        assert job.returncode in (0, 1), output
        if job.returncode:
            assert "of shared memory, but /dev/shm has" in output
            assert_nothing_looks_finished("shared_memory", out, undisturbed("shared_memory"))
        else:
            assert_undisturbed("shared_memory", out, undisturbed("shared_memory"))
    assert_clean(place)
