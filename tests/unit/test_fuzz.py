"""A short look for examples that break a property; `make fuzz` looks for long. What that has found stands here as cases."""

import pytest
from hypothesis import given, settings

from fuzz.properties import PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_nothing_breaks_it(name):
    check, examples = PROPERTIES[name]

    @settings(max_examples=60, deadline=None)
    @given(examples)
    def look(example):
        check(example)

    look()
