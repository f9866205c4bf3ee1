"""Measure our maskers beside nilearn's, each in a fresh process, imports included, against the bars they must hold.

    python -m benchmarks.maskers --out docs        writes maskers.json, and its table into from-nilearn.md

Beside the memory and the wall, each pair of results is compared: equal bits, or for maps the distance of each from a solution in
float64.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import SCRIPTS, Bench, Command, describe_machine
from benchmarks.command_line import bench_of, parse, parser_of
from benchmarks.data import Data, prepare
from benchmarks.masker_words import LONGER, report
from benchmarks.pages import fill
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

N_MAPS = (64, 256)

MAKE = """
import json, sys
import numpy
from nilearn.image import load_img, new_img_like
atlas, finer, folder = sys.argv[1:]
for path, wanted in ((atlas, 64), (finer, 256)):
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
    found.to_filename(f"{folder}/maps-{wanted}.nii.gz")
image = load_img(atlas)
inside = numpy.asarray(image.dataobj) > 0
new_img_like(image, inside.astype("u1")).to_filename(f"{folder}/brain.nii.gz")
voxels = numpy.argwhere(inside)[:: max(1, inside.sum() // 20)][:20]
seeds = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
json.dump(seeds.tolist(), open(f"{folder}/seeds.json", "w"))
"""

COMPARE = """
import json, sys
import numpy
ours, theirs = (numpy.load(path) for path in sys.argv[1:3])
found = {"same": bool(ours.dtype == theirs.dtype and numpy.array_equal(ours, theirs, equal_nan=True))}
if len(sys.argv) > 3:
    import nibabel
    maps, image = map(nibabel.load, sys.argv[3:])
    maps = maps.get_fdata(dtype="f8").reshape(-1, maps.shape[3])
    inside = maps.any(axis=1)
    some = image.dataobj[..., :20].reshape(len(inside), -1)[inside].astype("f8")
    exact = numpy.linalg.lstsq(maps[inside], some, rcond=None)[0].T
    for name, signals in (("ours", ours), ("nilearns", theirs)):
        found[f"apart_{name}"] = float(abs(signals[: len(exact)] - exact).max() / abs(exact).max())
print(json.dumps(found))
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
    without_import : float, optional
        The same for the wall without the import, which both pay.
    options : dict
        Of ``fit_transform``.
    """

    kind: str
    parameters: dict
    memory: float
    wall: float
    without_import: float | None = None
    options: dict = field(default_factory=dict)


def cases(data: Data, made: Path) -> dict[str, Case]:
    """List what is measured, and the bars."""
    cleaning = {"detrend": True, "high_pass": 0.01, "t_r": 2.0}
    seeds = json.loads((made / "seeds.json").read_text())
    found = {
        "NiftiMasker, whole brain": Case("NiftiMasker", {"mask_img": str(made / "brain.nii.gz")}, 1 / 4, 1 / 2.5),
        "NiftiMasker, one region": Case("NiftiMasker", {"mask_img": str(data.masks[0])}, 1 / 8, 1 / 3),
    }
    for n_labels, labels in {64: str(data.atlas.labels), 444: str(data.finer_atlas.labels)}.items():
        for more, parameters, options in (("", {}, {}), (", cleaned", cleaning, {"confounds": str(data.confounds)})):
            found[f"NiftiLabelsMasker, {n_labels} labels{more}"] = Case(
                "NiftiLabelsMasker", {"labels_img": labels, **parameters}, 1 / 8, 1 / 3.3, 1 / 6, options
            )
    found["NiftiLabelsMasker, 64 labels, smoothed by 6 mm"] = Case(
        "NiftiLabelsMasker", {"labels_img": str(data.atlas.labels), "smoothing_fwhm": 6}, 1 / 6, 1 / 1.3
    )
    for n_maps in N_MAPS:
        maps = str(made / f"maps-{n_maps}.nii.gz")
        found[f"NiftiMapsMasker, {n_maps} maps"] = Case("NiftiMapsMasker", {"maps_img": maps}, 1 / 10, 1 / 3)
    found["NiftiSpheresMasker, 20 seeds of 6 mm"] = Case(
        "NiftiSpheresMasker", {"seeds": seeds, "radius": 6, "allow_overlap": True}, 1 / 8, 1 / 3.5
    )
    return found


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


def compare(bench: Bench, image: Path, case: Case) -> dict:
    """Compare what both have left behind; maps also with a solution in float64 for some volumes."""
    files = [
        bench.folder(f"{package}-masker-{image.parent.name}") / "signals.npy" for package in ("roistream", "nilearn")
    ]
    exact = [case.parameters["maps_img"], image] if "maps_img" in case.parameters else []
    command = [sys.executable, "-c", COMPARE, *files, *exact]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


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
            "bars": {"memory": case.memory, "wall": case.wall, "without_import": case.without_import},
            **compare(bench, data.image, case),
        }
    factor, longer = max(data.longer.items())
    labels = cases(data, made)[LONGER]
    results["longer"] = {
        "factor": factor,
        "rows": bench.rounds("maskers: longer image", {"roistream": extraction(bench, "roistream", labels, longer)}),
    }
    return results


def main() -> None:
    """Measure, and write the report."""
    arguments = parse(parser_of("Measure our maskers beside nilearn's."))
    with reporting():
        quick = arguments.quick
        bench = bench_of(arguments.workdir, arguments.repeats, quick)
        results = run(bench, prepare(bench))
        with whole_file(arguments.out / "maskers.json") as partial:
            partial.write_text(json.dumps(results, indent=1) + "\n")
        print(report(results))
        page = arguments.out / "from-nilearn.md"
        if page.exists() and not quick:
            fill(page, report(results))


if __name__ == "__main__":
    main()
