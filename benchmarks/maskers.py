"""Measure our maskers beside nilearn's, each in a fresh process, imports included, against the bars they must hold.

    python -m benchmarks.maskers --out docs        writes maskers.json, and its table into from-nilearn.md

Beside the memory and the wall, each pair of results is compared: equal bits, or for maps the distance from a solution in float64.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import FULL, QUICK, SCRIPTS, Bench, Command, describe_machine
from benchmarks.data import Data, prepare
from benchmarks.pages import fill
from benchmarks.rows import mebibytes, middle, seconds, table
from roistream.outputs import whole_file
from roistream.reporting import reporting

EXTRACT = """
import json, sys
package, kind, parameters, image, out, options = sys.argv[1:]
if package == "roistream":
    sys.path.insert(0, {scripts!r})
import numpy
maskers = __import__(package + ".maskers", fromlist=[kind])
masker = getattr(maskers, kind)(reports=False, standardize=None, **json.loads(parameters))
numpy.save(out, masker.fit_transform(image, **json.loads(options)))
"""

IMPORT = "import {package}.maskers"

MAKE = """
import json, sys
import numpy
from nilearn.image import load_img, new_img_like
atlas, finer, folder = sys.argv[1:]
for name, path, wanted in (("64", atlas, 64), ("256", finer, 256)):
    image = load_img(path)
    labels = numpy.asarray(image.dataobj)
    found = [label for label in numpy.unique(labels) if label][:wanted]
    maps = numpy.zeros((*labels.shape, len(found)), "f4", order="F")
    for number, label in enumerate(found):
        inside = numpy.pad((labels == label).astype("f4"), 1)
        total = sum(inside[1 + x : inside.shape[0] - 1 + x, 1 + y : inside.shape[1] - 1 + y, 1 + z : inside.shape[2] - 1 + z]
                    for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1))
        maps[..., number] = total / 27
    found = new_img_like(image, maps)
    found.set_data_dtype("f4")
    found.to_filename(f"{folder}/maps-{name}.nii.gz")
image = load_img(atlas)
inside = numpy.asarray(image.dataobj) > 0
new_img_like(image, inside.astype("u1")).to_filename(f"{folder}/brain.nii.gz")
voxels = numpy.argwhere(inside)[:: max(1, inside.sum() // 20)][:20]
seeds = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
json.dump(seeds.tolist(), open(f"{folder}/seeds.json", "w"))
"""

SAME = """
import json, sys
import numpy
ours, theirs = (numpy.load(path) for path in sys.argv[1:])
same = ours.dtype == theirs.dtype and numpy.array_equal(ours, theirs, equal_nan=True)
print(json.dumps({"same": bool(same), "apart": float(abs(ours - theirs).max() / abs(theirs).max())}))
"""


@dataclass(frozen=True)
class Case:
    """A masker to be measured with nilearn's class and with ours.

    Attributes
    ----------
    kind : str
        The class.
    parameters : dict
        Its parameters.
    memory, wall : float
        Ours must take at most this part of nilearn's.
    same_bits : bool
        Whether results must be equal to the last bit.
    options : dict
        Of ``fit_transform``.
    """

    kind: str
    parameters: dict
    memory: float
    wall: float
    same_bits: bool = True
    options: dict = field(default_factory=dict)


def cases(data: Data, made: Path) -> dict[str, Case]:
    """List what is measured, and the bars."""
    labels, finer = str(data.atlas.labels), str(data.finer_atlas.labels)
    cleaning = {"detrend": True, "high_pass": 0.01, "t_r": 2.0}
    confounds = {"confounds": str(data.confounds)}
    seeds = json.loads((made / "seeds.json").read_text())
    return {
        "NiftiMasker, whole brain": Case("NiftiMasker", {"mask_img": str(made / "brain.nii.gz")}, 1 / 4, 1 / 2.5),
        "NiftiMasker, one region": Case("NiftiMasker", {"mask_img": str(data.masks[0])}, 1 / 8, 1 / 3),
        "NiftiLabelsMasker, 64 labels": Case("NiftiLabelsMasker", {"labels_img": labels}, 1 / 8, 1 / 3.3),
        "NiftiLabelsMasker, 64 labels, cleaned": Case(
            "NiftiLabelsMasker", {"labels_img": labels, **cleaning}, 1 / 8, 1 / 3.3, options=confounds
        ),
        "NiftiLabelsMasker, 444 labels": Case("NiftiLabelsMasker", {"labels_img": finer}, 1 / 8, 1 / 3.3),
        "NiftiLabelsMasker, 444 labels, cleaned": Case(
            "NiftiLabelsMasker", {"labels_img": finer, **cleaning}, 1 / 8, 1 / 3.3, options=confounds
        ),
        "NiftiLabelsMasker, 64 labels, smoothed by 6 mm": Case(
            "NiftiLabelsMasker", {"labels_img": labels, "smoothing_fwhm": 6}, 1 / 6, 1 / 1.3
        ),
        "NiftiMapsMasker, 64 maps": Case(
            "NiftiMapsMasker", {"maps_img": str(made / "maps-64.nii.gz")}, 1 / 10, 1 / 3, False
        ),
        "NiftiMapsMasker, 256 maps": Case(
            "NiftiMapsMasker", {"maps_img": str(made / "maps-256.nii.gz")}, 1 / 10, 1 / 3, False
        ),
        "NiftiSpheresMasker, 20 seeds of 6 mm": Case(
            "NiftiSpheresMasker", {"seeds": seeds, "radius": 6, "allow_overlap": True}, 1 / 8, 1 / 3.5
        ),
    }


def extraction(bench: Bench, package: str, case: Case, image: Path) -> Command:
    """Word one extraction."""
    out = bench.folder(f"{package}-masker-{image.parent.name}")
    words = [
        sys.executable,
        "-c",
        EXTRACT.format(scripts=str(SCRIPTS)),
        package,
        case.kind,
        json.dumps(case.parameters),
    ]
    return Command([*words, image, out / "signals.npy", json.dumps(case.options)], [image], out)


def compare(bench: Bench, image: Path) -> dict:
    """Compare what both have left behind."""
    files = [
        bench.folder(f"{package}-masker-{image.parent.name}") / "signals.npy" for package in ("roistream", "nilearn")
    ]
    return json.loads(subprocess.run([sys.executable, "-c", SAME, *files], check=True, capture_output=True).stdout)


def run(bench: Bench, data: Data) -> dict:
    """Measure everything."""
    made = bench.workdir / "maskers"
    if not (made / "seeds.json").exists():
        made.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", MAKE, data.atlas.labels, data.finer_atlas.labels, made], check=True)
    results: dict = {"n_volumes": data.n_volumes, "machine": describe_machine(), "cases": {}}
    packages = ("roistream", "nilearn")
    code = {"roistream": f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); ", "nilearn": ""}
    imports = {
        package: Command(
            [sys.executable, "-c", code[package] + IMPORT.format(package=package)], [], bench.folder("import")
        )
        for package in packages
    }
    results["imports"] = bench.rounds("maskers: the import alone", imports)
    for name, case in cases(data, made).items():
        commands = {package: extraction(bench, package, case, data.image) for package in packages}
        rows = bench.rounds(f"maskers: {name}", commands)
        results["cases"][name] = {
            "rows": rows,
            "bars": {"memory": case.memory, "wall": case.wall, "same_bits": case.same_bits},
            **compare(bench, data.image),
        }
    factor, longer = max(data.longer.items())
    labels = cases(data, made)["NiftiLabelsMasker, 64 labels"]
    results["longer"] = {
        "factor": factor,
        "rows": bench.rounds("maskers: longer image", {"roistream": extraction(bench, "roistream", labels, longer)}),
    }
    return results


def report(results: dict) -> str:
    """Word the table."""
    ours, theirs = results["imports"]
    lines = [
        f"nilearn's maskers and ours on {results['n_volumes']} volumes, each in a fresh process, imports included. "
        f"The import alone: nilearn {seconds(middle(theirs, 'wall_s'))} s, {mebibytes(middle(theirs, 'peak_pss_mib'))} MiB; "
        f"ours {seconds(middle(ours, 'wall_s'))} s, {mebibytes(middle(ours, 'peak_pss_mib'))} MiB.",
        "",
    ]
    rows = []
    for name, found in results["cases"].items():
        ours, theirs = found["rows"]
        memory, wall = (middle(ours, key) / middle(theirs, key) for key in ("peak_pss_mib", "wall_s"))
        bars = found["bars"]
        equal = "same bits" if found["same"] else f"apart by {found['apart']:.1g} of the largest"
        holds = memory <= bars["memory"] and wall <= bars["wall"] and (found["same"] or not bars["same_bits"])
        rows.append(
            [
                name,
                *(
                    f"{mebibytes(middle(row, 'peak_pss_mib'))} MiB, {seconds(middle(row, 'wall_s'))} s"
                    for row in (theirs, ours)
                ),
                f"1/{1 / memory:.1f} (1/{1 / bars['memory']:.3g})",
                f"1/{1 / wall:.1f} (1/{1 / bars['wall']:.3g})",
                equal,
                "yes" if holds else "**no**",
            ]
        )
    columns = ["masker", "nilearn", "ours", "memory (bar)", "wall (bar)", "results", "holds"]
    lines.append(table(columns, rows))
    [longer] = results["longer"]["rows"]
    before = results["cases"]["NiftiLabelsMasker, 64 labels"]["rows"][0]
    lines += [
        "",
        f"{results['longer']['factor']} times as many volumes: {mebibytes(middle(longer, 'peak_pss_mib'))} MiB "
        f"instead of {mebibytes(middle(before, 'peak_pss_mib'))}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description="Measure our maskers beside nilearn's.")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the report (%(default)s)")
    parser.add_argument("--workdir", type=Path, default=Path(".benchmark"), help="folder of the data (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a trial: 6 volumes of each subject, measured once")
    arguments = parser.parse_args()
    workdir = arguments.workdir.resolve()
    with reporting():
        quick = arguments.quick
        bench = Bench(workdir / "quick", 1, QUICK) if quick else Bench(workdir / "full", arguments.repeats, FULL)
        results = run(bench, prepare(bench))
        with whole_file(arguments.out / "maskers.json") as partial:
            partial.write_text(json.dumps(results, indent=1) + "\n")
        print(report(results))
        page = arguments.out / "from-nilearn.md"
        if page.exists() and not quick:
            fill(page, report(results))


if __name__ == "__main__":
    main()
