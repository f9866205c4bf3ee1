"""The command `roistream`: some of the scripts, each as a subcommand."""

import runpy
import sys
from pathlib import Path

SCRIPTS = {
    "timeseries": ("extract_timeseries", "extract one signal for each region of an atlas from the runs of an image"),
    "predict": ("predict_memory", "predict the peak memory of each strategy"),
    "measure": ("measure_memory", "run any command and record the memory of its process tree"),
    "list-runs": ("list_bids_runs", "list the runs of a BIDS dataset as a runs table"),
}
USAGE = "usage: roistream COMMAND …\n\n" + "".join(f"  {name:<12}{does}\n" for name, (_, does) in SCRIPTS.items())


def main() -> None:
    """Run the script that belongs to the subcommand, as if it had been started itself."""
    from roistream import __version__

    given = sys.argv[1:2]
    if given in ([], ["-h"], ["--help"]):
        print(f"{USAGE}\nroistream COMMAND --help tells more.")
    elif given == ["--version"]:
        print(f"roistream {__version__}")
    elif given[0] not in SCRIPTS:
        sys.exit(f"{USAGE}\nroistream: {given[0]!r} is none of these commands.")
    else:
        sys.argv[:2] = [f"roistream {given[0]}"]
        runpy.run_module(module_of(SCRIPTS[given[0]][0]), run_name="__main__")


def module_of(script: str) -> str:
    """Name a script as a module: in an installed package it has come along, in a checkout it lies beside the package."""
    return f"roistream.programs.{script}" if (Path(__file__).parent / "programs").is_dir() else script


if __name__ == "__main__":
    main()
