"""The command `roistream`: a BIDS App, and some of the scripts as subcommands."""

import runpy
import sys
from pathlib import Path

SCRIPTS = {
    "timeseries": ("extract_timeseries", "extract one signal for each region of an atlas from the runs of an image"),
    "predict": ("predict_memory", "predict the peak memory of each strategy"),
    "measure": ("measure_memory", "run any command and record the memory of its process tree"),
    "fetch-atlas": ("fetch_atlas", "fetch an atlas that nilearn or TemplateFlow has"),
    "list-runs": ("list_bids_runs", "list the runs of a BIDS dataset as a runs table"),
}
BIDS_APP = "run_bids_app"
LEVELS = {"participant", "group"}
USAGE = "usage: roistream BIDS_DIR OUTPUT_DIR participant …\n       roistream COMMAND …\n\n"
USAGE += "".join(f"  {name:<12}{does}\n" for name, (_, does) in SCRIPTS.items())


def main() -> None:
    """Run the script that belongs to the subcommand, or the BIDS App, as if it had been started itself."""
    from roistream import __version__

    given = sys.argv[1:2]
    if given in ([], ["-h"], ["--help"]):
        print(f"{USAGE}\nroistream COMMAND --help and roistream participant --help tell more.")
    elif given == ["--version"]:
        print(f"roistream {__version__}")
    elif given[0] in SCRIPTS:
        sys.argv[:2] = [f"roistream {given[0]}"]
        run(SCRIPTS[given[0]][0])
    elif LEVELS & set(sys.argv):
        sys.argv[0] = "roistream"
        run(BIDS_APP)
    else:
        sys.exit(f"{USAGE}\nroistream: {given[0]!r} is none of these commands.")


def run(script: str) -> None:
    """Run a script: in an installed package the workflow has come along with all of them, in a checkout it is around."""
    package = Path(__file__).resolve().parent
    installed = package / "project" / "scripts"
    sys.path.insert(0, str(installed if installed.is_dir() else package.parent))
    runpy.run_module(script, run_name="__main__")


if __name__ == "__main__":
    main()
