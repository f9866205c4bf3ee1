"""Measure what a connectome takes: listing a large dataset, matrices of many images, one long run that is scrubbed.

    python -m benchmarks.connectome --out docs        writes connectome.json, and its table into connectome.md

Each figure comes from a fresh process, imports included. `--only` measures some experiments and keeps the others' figures.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.bars import Bar, share
from benchmarks.bench import SCRIPTS, Bench, Command, describe_machine
from benchmarks.command_line import bench_of, parse, parser_of
from benchmarks.data import Atlas, place_atlas
from benchmarks.pages import fill
from benchmarks.rows import mebibytes, middle, seconds, table
from benchmarks.studies import SNAKEMAKE, extraction
from roistream.outputs import whole_file
from roistream.reporting import reporting

NILEARN = """
import sys
import numpy
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.maskers import NiftiLabelsMasker
image, atlas, out, fwhm = sys.argv[1:]
confounds, sample_mask = load_confounds_strategy(image, "scrubbing")
masker = NiftiLabelsMasker(atlas, standardize=None, smoothing_fwhm=float(fwhm) or None, reports=False)
numpy.save(out, masker.fit_transform(image, confounds=confounds, sample_mask=sample_mask))
"""

SAME = """
import json, sys
import numpy
table, values = sys.argv[1:]
with open(table) as stream:
    names, *rows = [line.rstrip("\\n").split("\\t") for line in stream]
first = names.index("volume") + 1 if "volume" in names else 0
ours = numpy.array([[float(cell.replace("n/a", "nan")) for cell in row[first:]] for row in rows])
theirs = numpy.load(values)
same = ours.shape == theirs.shape and numpy.array_equal(ours.astype(theirs.dtype), theirs)
print(json.dumps({"identical": bool(same), "n_kept": len(theirs)}))
"""

N_SUBJECTS, RUNS_EACH = 10_000, 2
N_IMAGES, N_LABELS = 200, 20
SCRUBBED = ("97x115x97", 300, 444)
"""Grid, volumes and labels of the long run: what fMRIPrep makes of ten minutes at 2 mm, and a fine atlas."""

SMOOTHINGS = {"not smoothed": (0, 1 / 8, 1 / 3), "smoothed by 6 mm": (6, 1 / 8, 1 / 1.3)}
"""Width in mm, and the parts of nilearn's memory and wall that ours may take."""


def make(module: str, folder: Path, *arguments: object) -> Path:
    """Let a program of ours make a folder of data, once; it may load numpy, which this one must not."""
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", folder, *map(str, arguments)], check=True)
        (folder / "made").touch()
    return folder


def listing(bench: Bench, quick: bool) -> dict:
    """List a large dataset of fMRIPrep, of empty images."""
    n_subjects = 20 if quick else N_SUBJECTS
    dataset = make("empty_dataset", bench.workdir / f"listed-{n_subjects}", n_subjects, RUNS_EACH)
    out = bench.folder("listing")
    words = [sys.executable, SCRIPTS / "list_bids_runs.py", dataset, "--out", out / "runs.tsv"]
    [row] = bench.rounds("listing", {"list_bids_runs.py": Command(words, [], out)})
    n_runs = len((out / "runs.tsv").read_text().splitlines()) - 1
    return {"rows": [row], "n_subjects": n_subjects, "n_runs": n_runs}


def judge_listing(found: dict) -> list[Bar]:
    """Judge it."""
    [row] = found["rows"]
    wall, peak = middle(row, "wall_s"), middle(row, "peak_pss_mib")
    figure = f"`list_bids_runs.py`, {found['n_subjects']:,} subjects, {found['n_runs']:,} runs"
    measured = f"{seconds(wall)} s, {mebibytes(peak)} MiB"
    return [Bar(figure, "≤ 60 s, ≤ 1,024 MiB", measured, wall <= 60 and peak <= 1024)]


def matrices(bench: Bench, quick: bool) -> dict:
    """Carry out a study of many small images, with matrices and without."""
    n_images = 4 if quick else N_IMAGES
    data = make("many_images", bench.workdir / f"connected-{n_images}", n_images, N_LABELS, 120)
    commands: dict[str, Command] = {}
    for name, kinds in {"without matrices": "[]", "with matrices": "[correlation]"}.items():
        out = bench.folder(f"matrices-{len(commands)}")
        words = [*SNAKEMAKE, "--directory", out, "--config", f"dataset={data / 'runs.tsv'}"]
        words += [f"atlas={data / 'atlas.nii.gz'}", "regions=all", f"connectivity={kinds}", "--", "timeseries"]
        commands[name] = Command(words, [], out)
    rows = bench.rounds("matrices", commands, repeats=1)
    found = [sum(1 for _ in command.writes.rglob("*_relmat.tsv")) for command in commands.values()]
    return {"rows": rows, "n_images": n_images, "n_matrices": found}


def judge_matrices(found: dict) -> list[Bar]:
    """Judge them."""
    without, with_matrices = (middle(row, "wall_s") for row in found["rows"])
    measured, holds = share(with_matrices, without, 1.3)
    n_images = found["n_images"]
    complete = found["n_matrices"] == [0, n_images]
    measured += f", {1000 * (with_matrices - without) / n_images:.0f} ms for each image"
    figure = f"`snakemake timeseries` of {n_images} small images with matrices, against the same without"
    return [Bar(figure, "≤ 1.3 ×", measured if complete else f"matrices: {found['n_matrices']}", holds and complete)]


def scrubbing(bench: Bench, quick: bool) -> dict:
    """Extract a long run, denoised and scrubbed, by ours and by nilearn."""
    grid, n_volumes, n_labels = ("20x24x20", 100, 20) if quick else SCRUBBED
    folder = make("scrubbed_run", bench.workdir / f"scrubbed-{n_volumes}", grid, n_volumes, n_labels)
    [run] = folder.glob("sub-*_bold.nii.gz")
    atlas = place_atlas(folder / "example_dseg.nii.gz", run, folder / "placed")
    results: dict = {"grid": grid, "n_volumes": n_volumes, "n_labels": n_labels, "cases": {}}
    for name, (fwhm, _, _) in SMOOTHINGS.items():
        commands = {
            "ours": extraction(bench, f"scrubbed-{fwhm}", [run], atlas, ours_options(fwhm)),
            "nilearn": nilearns(bench, run, atlas, fwhm),
        }
        rows = bench.rounds(f"scrubbing, {name}", commands)
        files = [commands["ours"].writes / "image_stat-mean_timeseries.tsv", commands["nilearn"].writes / "values.npy"]
        done = subprocess.run([sys.executable, "-c", SAME, *files], check=True, capture_output=True)
        results["cases"][name] = {"rows": rows, **json.loads(done.stdout)}
    return results


def ours_options(fwhm: int) -> list[str]:
    """Word the options of the extraction."""
    return ["--strategy", "scrubbing", *(["--smoothing-fwhm", str(fwhm)] if fwhm else [])]


def nilearns(bench: Bench, run: Path, atlas: Atlas, fwhm: int) -> Command:
    """Word the same with nilearn."""
    out = bench.folder(f"scrubbed-nilearn-{fwhm}")
    return Command([sys.executable, "-c", NILEARN, run, atlas.labels, out / "values.npy", fwhm], [run], out)


def judge_scrubbing(found: dict) -> list[Bar]:
    """Judge it."""
    bars = []
    size = f"{found['n_volumes']} volumes of {found['grid'].replace('x', ' × ')}, {found['n_labels']} labels"
    for name, (_, memory, wall) in SMOOTHINGS.items():
        case = found["cases"][name]
        ours, theirs = case["rows"]
        for key, most, unit, word in (("peak_pss_mib", memory, "MiB", mebibytes), ("wall_s", wall, "s", seconds)):
            values = [middle(row, key) for row in (ours, theirs)]
            measured = f"1/{values[1] / values[0]:.1f} ({word(values[0])} of {word(values[1])} {unit})"
            title = f"{'memory' if unit == 'MiB' else 'wall'} of nilearn's"
            figure = f"{size}, strategy `scrubbing`, {name}"
            bars.append(Bar(figure, f"≤ 1/{1 / most:.3g} of the {title}", measured, values[0] <= most * values[1]))
        same = "identical" if case["identical"] else "others"
        measured = f"{same}; {case['n_kept']} volumes kept"
        bars.append(Bar("… signals", "identical, bit by bit", measured, case["identical"]))
    return bars


EXPERIMENTS: dict[str, tuple[Callable[[Bench, bool], dict], Callable[[dict], list[Bar]]]] = {
    "listing": (listing, judge_listing),
    "matrices": (matrices, judge_matrices),
    "scrubbing": (scrubbing, judge_scrubbing),
}


def report(results: dict) -> str:
    """Word the table."""
    bars = [bar for name, (_, judge) in EXPERIMENTS.items() if name in results for bar in judge(results[name])]
    answers = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[bar.figure, bar.asked, bar.measured, answers[bar.holds]] for bar in bars]
    machine = results["machine"]
    head = f"On {machine['cores']} cores ({machine['cpu']}), each in a fresh process, imports included.\n\n"
    return head + table(["figure", "bar", "measured", "holds"], rows)


def main() -> None:
    """Measure, and write the report."""
    parser = parser_of("Measure what a connectome takes.")
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS), metavar="NAME")
    arguments = parse(parser)
    bench = bench_of(arguments.workdir, arguments.repeats, arguments.quick)
    bench.workdir.mkdir(parents=True, exist_ok=True)
    written = arguments.out / "connectome.json"
    with reporting():
        results = json.loads(written.read_text()) if written.exists() else {}
        results["machine"] = describe_machine()
        for name in arguments.only:
            results[name] = EXPERIMENTS[name][0](bench, arguments.quick)
        with whole_file(written) as partial:
            partial.write_text(json.dumps(results, indent=1) + "\n")
        print(report(results))
        page = arguments.out / "connectome.md"
        if page.exists() and not arguments.quick:
            fill(page, report(results))


if __name__ == "__main__":
    main()
