"""Run nilearn's own tests of its maskers, which its wheel ships, with our classes in the place of its own.

    python tests/nilearn_own/run.py               all that nilearn's own classes pass, ours must pass
    python tests/nilearn_own/run.py --quick       the quick ones only
    python tests/nilearn_own/run.py --not-passed  what nilearn's own classes do not pass, with both: ours must do the same
    python tests/nilearn_own/run.py --record      with nilearn's own classes; notes what fails, and what is slow, for this version

Among them are nilearn's and scikit-learn's checks of estimators. What nilearn's own classes do not pass is only run when it is
asked for: it fails, or is marked in nilearn's tests as known to fail, or is skipped there.
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


NOT_PASSED = ("failed", "known_to_fail", "skipped")


class Outcome(NamedTuple):
    """What came of a test: ``passed``, ``failed``, ``known_to_fail`` (as nilearn's tests say), or ``skipped``; its seconds."""

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
    command += [f"--junitxml={workdir / 'found.xml'}", "-p", "small_heap", *(("-p", "in_place") if ours else ())]
    command += [f"--deselect={TESTS}/{test.replace('::', '.py::', 1)}" for test in without]
    command += [f"{PACKAGE}/{TESTS}/{test}" for test in tests]
    paths = [HERE, HERE.parents[1] / "scripts", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "MPLBACKEND": "agg"}
    # Each process has a CPU, and no use for more threads than that.
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    subprocess.run(list(map(str, command)), cwd=workdir, env=environment)
    found = {}
    for case in ElementTree.parse(workdir / "found.xml").iter("testcase"):
        kinds = {child.tag: child.get("type") for child in case}
        result = "failed" if kinds.keys() & {"failure", "error"} else "passed"
        if "skipped" in kinds:
            result = "known_to_fail" if kinds["skipped"] == "pytest.xfail" else "skipped"
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
    noted = {kind: sorted(test for test, (result, _) in found.items() if result == kind) for kind in NOT_PASSED}
    return {**noted, "slow": sorted(slow)}


def read_record() -> dict[str, list[str]]:
    """Read what is noted for this version of nilearn; nothing, where nothing is."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {kind: [] for kind in (*NOT_PASSED, "slow")}


def what_only_ours_fail(folder: Path, quick: bool) -> list[str]:
    """Run ours where nilearn's own classes pass; name the tests that fail."""
    known = read_record()
    found = run(True, folder, without=[test for kind in known if quick or kind != "slow" for test in known[kind]])
    n_passed = sum(result == "passed" for result, _ in found.values())
    print(f"{n_passed} tests pass with ours.")
    if not n_passed:
        sys.exit("No test has run to its end.")
    new = sorted(test for test, (result, _) in found.items() if result == "failed" and OURS_ALONE not in test)
    if new:  # other packages than those of the record may be the cause
        own = run(False, folder, only=new)
        new = [test for test in new if own[test].result == "passed"]
    return new


def what_differs(folder: Path) -> list[str]:
    """Run both where nilearn's own classes do not pass; name the tests of which something else comes with ours."""
    known = read_record()
    own, ours = (
        run(with_ours, folder, only=[test for kind in NOT_PASSED for test in known[kind]])
        for with_ours in (False, True)
    )
    for kind in NOT_PASSED:
        n_own, n_ours = (sum(result == kind for result, _ in found.values()) for found in (own, ours))
        print(f"{kind}: {n_own} with nilearn's, {n_ours} with ours.")
    return sorted(test for test in own.keys() | ours.keys() if own[test].result != ours[test].result)


def main() -> None:
    """Run what the command line says; exit with 1 where ours do something else than nilearn's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--quick", action="store_true", help="leave out what takes longer than a moment")
    kinds.add_argument(
        "--not-passed", action="store_true", help="run what nilearn's own classes do not pass, with both"
    )
    kinds.add_argument("--record", action="store_true", help="run nilearn's own classes, and note what fails")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.record:
            noted = record(run(False, folder))
            RECORD.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")
            print(*(f"{kind}: {len(tests)}" for kind, tests in noted.items()), sep="\n")
            return
        other = what_differs(folder) if arguments.not_passed else what_only_ours_fail(folder, arguments.quick)
    print(f"{len(other)} end in another way with ours than with nilearn's classes.", *other, sep="\n")
    sys.exit(bool(other))


if __name__ == "__main__":
    main()
