"""Run nilearn's own tests of its maskers, which its wheel ships, with our classes in the place of its own.

    python tests/nilearn_own/run.py             all that nilearn's own classes pass, ours must pass (some ten minutes)
    python tests/nilearn_own/run.py --quick     the quick ones only
    python tests/nilearn_own/run.py --record    with nilearn's own classes; notes what fails, and what is slow, for this version

Among them are nilearn's and scikit-learn's checks of estimators. Packages beyond those of the library: pytest and numpydoc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
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

SLOW_S = 0.25


def run(
    ours: bool, workdir: Path, only: Sequence[str] = (), without: Sequence[str] = ()
) -> dict[str, tuple[bool, float]]:
    """Run the tests, or some only; tell for each whether it failed, and its seconds."""
    (workdir / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        workdir / "pytest.ini",
        "--tb=short",
    ]
    command += [f"--junitxml={workdir / 'found.xml'}", *(["-p", "in_place"] if ours else [])]
    command += [f"--deselect={TESTS}/{test.replace('::', '.py::', 1)}" for test in without]
    command += [f"--rootdir={PACKAGE}", f"--confcutdir={PACKAGE}"]
    paths = [HERE, HERE.parents[1] / "scripts", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "MPLBACKEND": "agg"}
    command += [
        f"{PACKAGE}/{TESTS}/{test.replace('::', '.py::', 1)}" for test in only or [f"{name}.py" for name in FILES]
    ]
    subprocess.run(list(map(str, command)), cwd=workdir, env=environment)
    found = {}
    for case in ElementTree.parse(workdir / "found.xml").iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}"
        failed = case.find("failure") is not None or case.find("error") is not None
        found[name] = (failed, float(case.get("time")))
    return found


def main() -> None:
    """Run what the command line says; exit with 1 where ours fail something that nilearn's pass."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes longer than a moment")
    parser.add_argument("--record", action="store_true", help="run nilearn's own classes, and note what fails")
    arguments = parser.parse_args()
    known = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {"fails": [], "slow": []}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.record:
            found = run(False, Path(folder))
            fails = sorted(test for test, (failed, _) in found.items() if failed)
            slow = sorted(test for test, (_, seconds) in found.items() if seconds > SLOW_S)
            RECORD.write_text(json.dumps({"fails": fails, "slow": slow}, indent=1) + "\n", "utf-8")
            quick_s = sum(seconds for _, seconds in found.values() if seconds <= SLOW_S)
            print(f"{len(found)} tests, {len(fails)} fail with nilearn's own classes.")
            print(f"{len(slow)} are slow, the others take {quick_s:.0f} s.")
            return
        found = run(True, Path(folder), without=known["slow"] if arguments.quick else [])
        fails = {test for test, (failed, _) in found.items() if failed and OURS_ALONE not in test}
        new = sorted(fails - set(known["fails"]))
        if new:  # other packages than those of the record may be the cause
            own = run(False, Path(folder), only=new)
            new = [test for test in new if not own[test][0]]
    print(f"{len(found)} tests; {len(new)} fail with ours and pass with nilearn's classes.", *new, sep="\n")
    sys.exit(bool(new) or not found)


if __name__ == "__main__":
    main()
