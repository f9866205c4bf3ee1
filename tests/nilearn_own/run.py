"""Run nilearn's own tests of its maskers, which its wheel ships, with our classes in the place of its own.

    python tests/nilearn_own/run.py             all that nilearn's own classes pass, ours must pass
    python tests/nilearn_own/run.py --quick     the quick ones only
    python tests/nilearn_own/run.py --record    with nilearn's own classes; notes what fails, and what is slow, for this version

Among them are nilearn's and scikit-learn's checks of estimators. What nilearn's own classes do not pass is not run.
Packages beyond those of the library: pytest, pytest-xdist and numpydoc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import nilearn

HERE = Path(__file__).parent
PACKAGE, TESTS = Path(nilearn.__file__).parent, "maskers/tests"
RECORD = HERE / f"nilearn-{nilearn.__version__}.json"
FILES = [
    *(f"test_nifti_{kind}" for kind in ("masker", "labels_masker", "maps_masker", "spheres_masker")),
    *(f"test_multi_nifti_{kind}" for kind in ("masker", "labels_masker", "maps_masker")),
]
OURS_ALONE = "check_doc_link"
"""A link to nilearn's documentation is made from the name of the class's package."""

QUICK_SHARE = 0.15
"""The quickest tests that together take this share of the time of all are the quick ones."""


class Outcome(NamedTuple):
    """What came of a test: ``passed``, ``failed`` or ``skipped`` (also where it is known to fail), and its seconds."""

    result: str
    seconds: float


def run(ours: bool, workdir: Path, only: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, Outcome]:
    """Run the tests, or some only, in as many processes as there are CPUs; tell what came of each."""
    (workdir / "pytest.ini").write_text("[pytest]\n")
    tests = [test.replace("::", ".py::", 1) for test in only] or [f"{name}.py" for name in FILES]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "--numprocesses=auto",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-c", workdir / "pytest.ini", f"--rootdir={PACKAGE}", f"--confcutdir={PACKAGE}"]
    command += [f"--junitxml={workdir / 'found.xml'}", *(("-p", "in_place") if ours else ())]
    command += [f"--deselect={TESTS}/{test.replace('::', '.py::', 1)}" for test in without]
    command += [f"{PACKAGE}/{TESTS}/{test}" for test in tests]
    paths = [HERE, HERE.parents[1] / "scripts", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "MPLBACKEND": "agg"}
    # Each process has a CPU, and no use for more threads than that.
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    subprocess.run(list(map(str, command)), cwd=workdir, env=environment)
    found = {}
    for case in ElementTree.parse(workdir / "found.xml").iter("testcase"):
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        name = f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
        found[name] = Outcome(result, float(case.attrib["time"]))
    return found


def record(found: dict[str, Outcome]) -> dict[str, list[str]]:
    """Note which tests nilearn's own classes do not pass, and which of the others are slow."""
    passed = {test: seconds for test, (result, seconds) in found.items() if result == "passed"}
    left, slow = QUICK_SHARE * sum(passed.values()), []
    for test, seconds in sorted(passed.items(), key=lambda item: item[1]):
        left -= seconds
        if left < 0:
            slow.append(test)
    return {"not_passed": sorted(found.keys() - passed.keys()), "slow": sorted(slow)}


def main() -> None:
    """Run what the command line says; exit with 1 where ours fail something that nilearn's pass."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes longer than a moment")
    parser.add_argument("--record", action="store_true", help="run nilearn's own classes, and note what fails")
    arguments = parser.parse_args()
    known = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {"not_passed": [], "slow": []}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.record:
            noted = record(run(False, Path(folder)))
            RECORD.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")
            print(*(f"{len(tests)} are {kind.replace('_', ' ')}." for kind, tests in noted.items()), sep="\n")
            return
        found = run(True, Path(folder), without=known["not_passed"] + (known["slow"] if arguments.quick else []))
        new = sorted(test for test, (result, _) in found.items() if result == "failed" and OURS_ALONE not in test)
        if new:  # other packages than those of the record may be the cause
            own = run(False, Path(folder), only=new)
            new = [test for test in new if own[test].result == "passed"]
    n_passed = sum(result == "passed" for result, _ in found.values())
    print(f"{n_passed} tests pass; {len(new)} fail with ours and pass with nilearn's classes.", *new, sep="\n")
    sys.exit(bool(new) or not n_passed)


if __name__ == "__main__":
    main()
