"""Machines that can be broken, the small image, and what an undisturbed run makes of it."""

import pytest

from faults.extractions import QUICK, command_of, is_finished, results, save_inputs
from faults.machine import machine


def by_method(quick=QUICK, slow=()):
    """Parametrize a test over methods; of the `slow` ones it is a slow test."""
    return pytest.mark.parametrize("method", [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)])


@pytest.fixture
def place(tmp_path):
    """A machine of one's own."""
    with machine(tmp_path / "machine") as made:
        yield made


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """The image; no test may change it."""
    return save_inputs(tmp_path_factory.mktemp("scan") / "inputs")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, inputs):
    """Give the results of a method that nothing disturbs."""
    made = {}

    def get(method):
        if method not in made:
            folder = tmp_path_factory.mktemp(method)
            with machine(folder / "machine") as quiet:
                (folder / "out").mkdir()
                ended = quiet.run(command_of(method, inputs, folder / "out"))
                assert ended.status == 0, ended.output
                assert quiet.left() == []
            assert is_finished(method, folder / "out")
            made[method] = results(folder / "out")
        return made[method]

    return get
