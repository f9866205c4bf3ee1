"""Look for examples that break a property, for as long as is wanted.

make fuzz                                      ten minutes for each
python -m fuzz --minutes 1 header reader       a minute for these (from tests/, with scripts/ and tests/ on PYTHONPATH)

What is found is printed, made small, and belongs into tests/unit/test_fuzz.py as a case of its own.
"""

import argparse
import secrets
import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.properties import PROPERTIES

EXAMPLES = 1000
"""Examples between two looks at the clock; each such round has a seed of its own."""


def fuzz(name, minutes):
    """Look for a while; give what was found, and how many examples were tried."""
    check, examples = PROPERTIES[name]
    tried, end = 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        number = secrets.randbits(32)

        @seed(number)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
        )
        @given(examples)
        def look(example):
            nonlocal tried
            tried += 1
            check(example)

        try:
            look()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            print(f"{name}: broken after {tried} examples, seed {number}", flush=True)
            traceback.print_exc()
            return False
    print(f"{name}: {tried} examples, none broke it", flush=True)
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Look for examples that break a property.")
    parser.add_argument("properties", nargs="*", choices=[[], *PROPERTIES], metavar="NAME", help=", ".join(PROPERTIES))
    parser.add_argument("--minutes", type=float, default=10, help="for each property (default: 10)")
    arguments = parser.parse_args()
    kept = [fuzz(name, arguments.minutes) for name in arguments.properties or PROPERTIES]
    sys.exit(not all(kept))
