"""Memory that runs out for real, in a control group with a limit, for every way to extract."""

from faults.conftest import by_method
from faults.extractions import STUDY, assert_nothing_looks_finished, assert_undisturbed, command_of
from faults.machine import memory_limit

JOIN = ["sh", "-c", 'echo 0 > "$0" && exec "$@"']


def limited(command, method, group):
    """Put what extracts into a control group; who measures it stays outside, as does Snakemake."""
    start = 0 if method in STUDY else command.index("--") + 1
    return [*command[:start], *JOIN, str(group), *command[start:]]


@by_method(["stream", "shared_memory", "timeseries"])
def test_the_kernel_kills_an_extraction(place, inputs, undisturbed, tmp_path, method):
    """It was told that there is too little, and to go on all the same."""
    out = tmp_path / "out"
    out.mkdir()
    with memory_limit(8) as group:
        ended = place.run(limited(command_of(method, inputs, out, "--memory-shortage", "warn"), method, group))
        assert place.wait_until_empty() == []
    assert ended.status in (137, -9), ended.output
    assert "Traceback" not in ended.output
    if method not in STUDY:  # of a study's job the shell of its rule tells, see test_workflows.py
        assert "was ended by SIGKILL" in ended.errors[-1]
        assert "out-of-memory" in ended.errors[-1]
    assert_nothing_looks_finished(method, out, undisturbed(method))
    assert place.left() == []
    ended = place.run(command_of(method, inputs, out))
    assert ended.status == 0, ended.output
    assert_undisturbed(method, out, undisturbed(method))


@by_method([], slow=["nifti_masker_in_memory", "numpy_path", "numpy_in_memory", "shared_memory", "mmap"])
def test_the_kernel_kills_whom_it_likes(place, inputs, undisturbed, tmp_path, method):
    """With room for the parent, but not for its workers, it may be one of these."""
    out = tmp_path / "out"
    out.mkdir()
    with memory_limit(150 if "nifti" in method else 45) as group:
        ended = place.run(limited(command_of(method, inputs, out, "--memory-shortage", "warn"), method, group))
        assert place.wait_until_empty() == []
    assert "Traceback" not in ended.output, ended.output
    # Among those whom the kernel likes may be the processes that clear up after the others.
    assert [path for path in place.left() if not path.name.startswith(("joblib_memmapping", "sem.loky", "psm_"))] == []
    if ended.status:
        assert "memory" in "".join(ended.errors)
        assert_nothing_looks_finished(method, out, undisturbed(method))
        assert place.run(command_of(method, inputs, out)).status == 0
    assert_undisturbed(method, out, undisturbed(method))
