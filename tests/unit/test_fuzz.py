"""A short look for examples that break a property, at the same ones each time; `make fuzz` looks for others, for long."""

import pytest
from hypothesis import given, settings

from fuzz.properties import PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_nothing_breaks_it(name):
    check, examples = PROPERTIES[name]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(examples)
    def look(example):
        check(example)

    look()
