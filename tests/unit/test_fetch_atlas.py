"""nilearn's own fetchers and TemplateFlow's files, from a real HTTP server on this machine and from caches filled before."""

import csv
import gzip
import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import nibabel as nib
import nilearn.datasets
import nilearn.datasets._utils
import numpy as np
import pytest

from conftest import ROOT, run_script
from fetch_atlas import fetch_atlas
from roistream.errors import UserError
from roistream.regions.atlas_sidecar import read_fetched
from roistream.samples.cache import SUMS
from roistream.samples.nilearn_atlases import list_fetchers
from unit.test_downloads import ANSWERS, begin
from unit.test_fetch_adhd import (
    Mirror,
    _no_proxy,  # noqa: F401 - a fixture
    archive,
)

SHAPE = (6, 5, 4)
AFFINE = np.diag([4.0, 4, 4, 1])
SCHAEFER = "/Schaefer2018_100Parcels_7Networks_order"
SCHAEFER_IMAGE = f"{SCHAEFER}_FSLMNI152_1mm.nii.gz"


@pytest.fixture
def mirror():
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch):
    """Whatever is not on this machine cannot be reached."""
    for variable in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("TEMPLATEFLOW_HOME", raising=False)


def labels_bytes(n_labels, shape=SHAPE, dtype=np.int16):
    data = np.arange(np.prod(shape)).reshape(shape) % (n_labels + 1)
    return nib.Nifti1Image(data.astype(dtype), AFFINE).to_bytes()


def maps_bytes(n_maps, in_per_cent=False):
    data = np.random.default_rng(n_maps).random((*SHAPE, n_maps)).astype(np.float32)
    if in_per_cent:
        data = np.rint(100 * data).astype(np.uint8)
    return nib.Nifti1Image(data, AFFINE).to_bytes()


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def schaefer_names(n_labels=100):
    return "".join(f"{k}\t7Networks_LH_Vis_{k}\t120\t18\t{k}\t0\n" for k in range(1, n_labels + 1)).encode()


def serve_schaefer(mirror):
    mirror.files[f"{SCHAEFER}.txt"] = schaefer_names()
    mirror.files[SCHAEFER_IMAGE] = gzip.compress(labels_bytes(100, dtype=np.float32))
    return {"n_rois": 100, "base_url": f"{mirror.url}/"}


def table_of(folder):
    facts = read_fetched(folder)
    with (folder / (facts["Labels"] or facts["Image"])).open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def names_of(folder):
    return [row["name"] for row in table_of(folder)]


def filled(folder, members):
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def fsl_labels(*names):
    entries = "".join(f'<label index="{k}" x="0" y="0" z="0">{name}</label>' for k, name in enumerate(names))
    return f"<atlas><data>{entries}</data></atlas>".encode()


def aal_labels(*names):
    entries = "".join(f"<label><index>{k + 1}</index><name>{name}</name></label>" for k, name in enumerate(names))
    return f"<atlas><data>{entries}</data></atlas>".encode()


FSL = "fsl/data/atlases/"
IN_THE_CACHE = {
    "schaefer2018": (
        {"n_rois": 100, "resolution_mm": 2},
        {
            "schaefer_2018/Schaefer2018_100Parcels_7Networks_order.txt": schaefer_names(),
            "schaefer_2018/Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz": labels_bytes(100),
        },
        [f"7Networks_LH_Vis_{k}" for k in range(1, 101)],
    ),
    "harvard_oxford": (
        {"atlas_name": "cort-maxprob-thr25-2mm"},
        {
            f"{FSL}HarvardOxford/HarvardOxford-cort-maxprob-thr25-2mm.nii.gz": labels_bytes(3),
            f"{FSL}HarvardOxford-Cortical.xml": fsl_labels("Pole", "Insular  Cortex", "Gyrus"),
        },
        ["Pole", "Insular Cortex", "Gyrus"],
    ),
    "HarvardOxford": (
        {"atlas_name": "sub-prob-2mm"},
        {
            f"{FSL}HarvardOxford/HarvardOxford-sub-prob-2mm.nii.gz": maps_bytes(2, in_per_cent=True),
            f"{FSL}HarvardOxford-Subcortical.xml": fsl_labels("Left", "Right"),
        },
        ["Left", "Right"],
    ),
    "juelich": (
        {"atlas_name": "maxprob-thr0-1mm"},
        {
            f"{FSL}Juelich/Juelich-maxprob-thr0-1mm.nii.gz": labels_bytes(2),
            f"{FSL}Juelich.xml": fsl_labels("GM Amygdala L", "GM Insula L"),
        },
        ["GM Amygdala", "GM Insula"],
    ),
    "difumo": (
        {"dimension": 64},
        {
            "difumo_atlases/64/labels_64_dictionary.csv": b"Component,Difumo_names,Yeo_networks7\n1,Fornix,No\n2,Cuneus,Vis\n",
            "difumo_atlases/64/2mm/maps.nii.gz": maps_bytes(2),
            "difumo_atlases/README.md": b"",
        },
        ["Fornix", "Cuneus"],
    ),
    "talairach": (
        {"level_name": "lobe"},
        {
            "talairach_atlas/lobe.nii.gz": labels_bytes(2, dtype=np.uint8),
            "talairach_atlas/lobe-labels.json": b'["Background", "Frontal", "Occipital"]',
        },
        ["Frontal", "Occipital"],
    ),
    "msdl": (
        {},
        {
            "msdl_atlas/MSDL_rois/msdl_rois_labels.csv": b"x,y,z,name,net name\n1,2,3,L Aud,Aud\n1,2,3, R Aud,Aud\n",
            "msdl_atlas/MSDL_rois/msdl_rois.nii": maps_bytes(2),
        },
        ["L Aud", "R Aud"],
    ),
    "aal": (
        {},
        {
            "aal_3v2/AAL3/AAL3v1.nii": labels_bytes(2),
            "aal_3v2/AAL3/AAL3v1.xml": aal_labels("Precentral_L", "Cing_L", "Cing_L"),
        },
        ["Precentral_L", "Cing_L"],
    ),
    "pauli2017": (
        {"atlas_type": "deterministic"},
        {"pauli_2017/pauli_2017_det.nii.gz": labels_bytes(2), "pauli_2017/labels.txt": b"0 Pu\n1 Ca\n"},
        ["Pu", "Ca"],
    ),
    "basc_multiscale_2015": (
        {"resolution": 7},
        {
            "basc_multiscale_2015/template_cambridge_basc_multiscale_nii_sym/"
            "template_cambridge_basc_multiscale_sym_scale007.nii.gz": labels_bytes(7, dtype=np.float32)
        },
        [str(k) for k in range(1, 8)],
    ),
}


@pytest.mark.parametrize("name", IN_THE_CACHE)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_in_nilearns_cache_needs_no_network(tmp_path, name):
    options, files, names = IN_THE_CACHE[name]
    filled(tmp_path / "cache", files)
    for _ in range(2):
        fetch_atlas(name, tmp_path / "out", options, str(tmp_path / "cache"))
    assert names_of(tmp_path / "out") == names
    facts = read_fetched(tmp_path / "out")
    bunch = getattr(nilearn.datasets, facts["Fetcher"].rpartition(".")[2])(
        **options, data_dir=str(tmp_path / "cache"), verbose=0
    )
    maps = nib.load(bunch.maps) if isinstance(bunch.maps, str | Path) else bunch.maps
    ours = nib.load(tmp_path / "out" / facts["Image"])
    assert np.array_equal(ours.get_fdata(), maps.get_fdata())
    assert np.array_equal(ours.affine, maps.affine)
    assert facts["Kind"] == ("maps" if maps.ndim == 4 else "labels")
    dataset = tmp_path / "cache" / next(iter(files)).partition("/")[0]
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=dataset, check=False)
    assert done.returncode == 0
    assert (
        facts["SHA256"].items() <= {line[66:]: line[:64] for line in (dataset / SUMS).read_text().splitlines()}.items()
    )


SERVED = {
    "destrieux2009": (
        {"url": "/", "lateralized": False},
        {
            "/destrieux2009.tgz": archive(
                {
                    "destrieux2009_rois_labels.csv": b"index,name\n0,Background\n1,G\n2,S\n",
                    "destrieux2009_rois.nii.gz": gzip.compress(labels_bytes(2)),
                    "destrieux2009.rst": b"Destrieux\n\nLicense\n-------\n\nfree\n",
                }
            )
        },
        ["G", "S"],
    ),
    "smith_2009": (
        {"url": "/"},
        {"/PNAS_Smith09_rsn10.nii.gz": gzip.compress(maps_bytes(2))},
        ["region-1", "region-2"],
    ),
    "yeo2011": (
        {"url": "/yeo.zip"},
        {
            "/yeo.zip": zipped(
                {
                    f"Yeo_JNeurophysiol11_MNI152/{name}": content
                    for n in (7, 17)
                    for name, content in {
                        f"Yeo2011_{n}Networks_MNI152_FreeSurferConformed1mm.nii.gz": b"",
                        f"Yeo2011_{n}Networks_MNI152_FreeSurferConformed1mm_LiberalMask.nii.gz": gzip.compress(
                            labels_bytes(2, (*SHAPE, 1))
                        ),
                        f"Yeo2011_{n}Networks_ColorLUT.txt": b"0 NONE 0 0 0 0\n1 Vis 1 1 1 0\n2 Som 1 1 1 0\n",
                        "FSL_MNI152_FreeSurferConformed_1mm.nii.gz": b"",
                    }.items()
                }
            )
        },
        ["Vis", "Som"],
    ),
}


def fetch_served(mirror, tmp_path, name):
    options, files, names = SERVED[name]
    mirror.files.update(files)
    options = {**options, "url": mirror.url + options["url"]}
    fetch_atlas(name, tmp_path / "out", options, str(tmp_path / "cache"))
    return names


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_from_a_server(tmp_path, mirror, name):
    names = fetch_served(mirror, tmp_path, name)
    assert names_of(tmp_path / "out") == names
    n_requests = len(mirror.requests)
    fetch_served(mirror, tmp_path, name)
    assert len(mirror.requests) == n_requests, "what is in the cache is not fetched again"


def test_schaefer_from_a_server(tmp_path, mirror, caplog):
    caplog.set_level("WARNING")
    options = serve_schaefer(mirror)
    fetch_atlas("schaefer2018", tmp_path / "out", options, str(tmp_path / "cache"))
    assert not caplog.messages
    assert names_of(tmp_path / "out") == [f"7Networks_LH_Vis_{k}" for k in range(1, 101)]
    facts = read_fetched(tmp_path / "out")
    assert facts["License"] == "MIT"
    assert facts["Template"] == "MNI152NLin6Asym"
    assert facts["Options"] == {"n_rois": 100, "yeo_networks": 7, "resolution_mm": 1, "base_url": options["base_url"]}
    assert (tmp_path / "out" / facts["Image"]).is_symlink()


SPHERES = {"power2011": ({"radius": 5}, 264), "dosenbach_2010": ({"radius": 4.5}, 160), "seitzman2018": ({}, 300)}


@pytest.mark.parametrize("name", SPHERES)
def test_coordinates_are_spheres(tmp_path, name):
    options, n_spheres = SPHERES[name]
    fetch_atlas(name, tmp_path / "out", options)
    rows = table_of(tmp_path / "out")
    bunch = list_fetchers()[name.replace("_", "")]()
    assert len(rows) == len({row["name"] for row in rows}) == n_spheres
    for axis in "xyz":
        assert [float(row[axis]) for row in rows] == list(bunch.rois[axis])
    assert [float(row["radius"]) for row in rows] == list(bunch.get("radius", [options.get("radius")] * n_spheres))
    assert read_fetched(tmp_path / "out")["Kind"] == "spheres"


MISTAKES = {
    "schafer2018": ({}, "did you mean 'schaefer2018'?"),
    "schaefer2018": (
        {"n_roi": 100},
        "'n_roi' is unknown; the options of schaefer2018, with their defaults, are n_rois (400), ",
    ),
    "fetch_atlas_schaefer_2018": ({"data_dir": "/"}, "'data_dir' is unknown"),
    "talairach": ({}, "'level_name' is missing; the options of talairach, with their defaults, are level_name."),
    "basc_multiscale_2015": ({"resolution": 8}, "resolution=8 not available"),
    "power2011": ({}, "has coordinates and no radius; set it in mm"),
    "dosenbach2010": ({"radius": 0}, "'radius' is 0; give a number of mm above 0"),
    "seitzman2018": ({"radius": 5}, "take 'radius' out"),
    "destrieux2009": (
        {"url": "http://127.0.0.1:9/"},
        "could not be fetched from http://127.0.0.1:9/destrieux2009.tgz ([Errno 111]",
    ),
    "tpl-X_atlas-A_T1w": ({}, "then dseg or probseg"),
    "tpl-X_atlas-..%2f_dseg": ({}, "no name of an atlas of TemplateFlow"),
    "tpl-X_dseg": ({"n_rois": 3}, "has one option, url"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_sentence(tmp_path, name):
    options, sentence = MISTAKES[name]
    with pytest.raises(UserError) as raised:
        fetch_atlas(name, tmp_path / "out", options, str(tmp_path / "cache"))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_surfaces_and_parcellations_are_refused(tmp_path, mirror):
    cache = tmp_path / "cache"
    cache.mkdir()
    parcellations = np.stack([np.full(SHAPE, 3), np.full(SHAPE, 101)], axis=3).astype(np.int16)
    filled(cache, {"craddock_2012/scorr05_mean_all.nii.gz": nib.Nifti1Image(parcellations, AFFINE).to_bytes()})
    with pytest.raises(UserError, match="holds 2 parcellations, one in each volume, and no maps"):
        fetch_atlas("craddock2012", tmp_path / "out", {}, str(cache))
    names = np.array([b"Unknown", b"G"], dtype=object)
    for side in ("left", "right"):
        path = cache / f"destrieux_surface/{side}.aparc.a2009s.annot"
        path.parent.mkdir(exist_ok=True)
        nib.freesurfer.write_annot(path, np.array([0, 1]), np.array([[0, 0, 0, 0], [9, 9, 9, 0]]), list(names))
    with pytest.raises(UserError, match=r"no volume, but labels, map_left, map_right.* no surfaces"):
        fetch_atlas("surf_destrieux", tmp_path / "out", {}, str(cache))
    assert not read_fetched(tmp_path / "out")


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_what_a_server_may_answer(tmp_path, mirror, monkeypatch, answer):
    monkeypatch.setattr(nilearn.datasets._utils, "_REQUESTS_TIMEOUT", (5, 0.5))
    options = serve_schaefer(mirror)
    mirror.files["/login"] = b"<html>Please log in.</html>"
    body = mirror.files[SCHAEFER_IMAGE]

    def misbehave(handler):
        handler.server.files = {**mirror.files, handler.path.removeprefix("/frs"): body}
        answer(handler) if answer.__name__ != "stall_in_the_middle" else stall(handler, body)

    mirror.behave[SCHAEFER_IMAGE] = misbehave
    cache = tmp_path / "cache"
    with pytest.raises(UserError) as raised:
        fetch_atlas("schaefer2018", tmp_path / "out", options, str(cache))
    if answer.__name__ == "redirect_to_a_login":
        assert "is not what the server should send" in str(raised.value)
        assert "was removed from nilearn's cache" in str(raised.value)
        assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "README.md"]
    else:
        assert ANSWERS[answer] in str(raised.value)
        assert mirror.url in str(raised.value)
    assert not read_fetched(tmp_path / "out")
    mirror.behave.clear()
    fetch_atlas("schaefer2018", tmp_path / "out", options, str(cache))
    assert len(names_of(tmp_path / "out")) == 100


def stall(handler, body):
    begin(handler, body, 0.5)
    threading.Event().wait(1.5)


@pytest.mark.parametrize("damage", ["cut off", "another image", "names are a page"])
def test_a_file_in_the_cache_that_is_damaged(tmp_path, mirror, damage):
    options, cache = serve_schaefer(mirror), tmp_path / "cache"
    fetch_atlas("schaefer2018", tmp_path / "out", options, str(cache))
    [image] = cache.rglob("*.nii.gz")
    [names] = cache.rglob("*.txt")
    if damage == "names are a page":
        names.write_bytes(b"<html>Please log in.</html>")
    else:
        image.write_bytes(
            image.read_bytes()[:-20] if damage == "cut off" else gzip.compress(labels_bytes(100, (5, 6, 4)))
        )
    with pytest.raises(UserError, match="delete th") as raised:
        fetch_atlas("schaefer2018", tmp_path / "out", options, str(cache))
    assert str(cache / "schaefer_2018") in str(raised.value) or str(cache) in str(raised.value)
    assert image.exists(), "the user's"
    assert names.exists()


def test_maps_in_the_cache_are_read_to_their_end(tmp_path):
    options, files, _ = IN_THE_CACHE["difumo"]
    filled(tmp_path / "cache", files)
    [maps] = (tmp_path / "cache").rglob("maps.nii.gz")
    maps.write_bytes(maps.read_bytes()[:-20])
    with pytest.raises(UserError, match="ends early: 2 volumes expected, 1 complete"):
        fetch_atlas("difumo", tmp_path / "out", options, str(tmp_path / "cache"))
    assert not read_fetched(tmp_path / "out")


def test_two_runs_share_a_cache(tmp_path, mirror):
    options = serve_schaefer(mirror)
    both = []
    for name in ("one", "two"):
        command = [
            sys.executable,
            ROOT / "scripts/fetch_atlas.py",
            "--atlas",
            "schaefer2018",
            "--folder",
            tmp_path / name,
        ]
        command += ["--options", json.dumps(options), "--data-dir", tmp_path / "cache"]
        both.append(subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True))
    for name, process in zip(("one", "two"), both, strict=True):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert len(names_of(tmp_path / name)) == 100
    assert sorted(path for path, _ in mirror.requests) == sorted([f"{SCHAEFER}.txt", SCHAEFER_IMAGE])


TPL = "tpl-MNI152NLin2009cAsym"
TPL_IMAGE = f"/{TPL}/{TPL}_res-02_atlas-Schaefer2018_desc-100Parcels7Networks_dseg.nii.gz"
TPL_NAMES = f"/{TPL}/{TPL}_atlas-Schaefer2018_desc-100Parcels7Networks_dseg.tsv"
ASKED = f"{TPL}_atlas-Schaefer2018_desc-100Parcels7Networks_res-02_dseg"


def serve_templateflow(mirror):
    names = "".join(f"{k}\tVis_{k}\t#000000\n" for k in range(1, 101))
    mirror.files[TPL_IMAGE] = gzip.compress(labels_bytes(100))
    mirror.files[TPL_NAMES] = f"index\tname\tcolor\n{names}".encode()
    mirror.files[f"/{TPL}/template_description.json"] = b'{"License": "MIT-derived", "ReferencesAndLinks": ["doi"]}'
    return {"url": mirror.url}


@pytest.mark.parametrize("home", [False, True])
def test_templateflow(tmp_path, mirror, monkeypatch, home):
    if home:
        monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "cache/templateflow"))
        empty = tmp_path / f"cache/templateflow{TPL_IMAGE}"  # as TemplateFlow's client leaves it before it fetches
        empty.parent.mkdir(parents=True)
        empty.touch()
    options = serve_templateflow(mirror)
    for _ in range(2):
        fetch_atlas(ASKED, tmp_path / "out", options, None if home else str(tmp_path / "cache"))
    assert names_of(tmp_path / "out") == [f"Vis_{k}" for k in range(1, 101)]
    facts = read_fetched(tmp_path / "out")
    assert (facts["Template"], facts["License"]) == ("MNI152NLin2009cAsym", "MIT-derived")
    assert facts["Source"] == mirror.url + TPL_IMAGE
    assert (tmp_path / "out" / facts["Image"]).resolve() == tmp_path / f"cache/templateflow{TPL_IMAGE}"
    assert len(mirror.requests) == 3, "what is there is not fetched again"


def test_templateflow_maps_with_other_names(tmp_path, mirror):
    image = f"/{TPL}/{TPL}_res-02_atlas-DiFuMo_desc-2dimensions_probseg.nii.gz"
    mirror.files[image] = gzip.compress(maps_bytes(2))
    mirror.files[image.replace("_res-02", "").replace("nii.gz", "tsv")] = (
        b"Component\tDifumo_names\n1\tFornix\n2\tCuneus\n"
    )
    fetch_atlas(Path(image).name, tmp_path / "out", {"url": mirror.url}, str(tmp_path / "cache"))
    assert names_of(tmp_path / "out") == ["Fornix", "Cuneus"]
    assert read_fetched(tmp_path / "out")["Kind"] == "maps"


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_templateflow_fails(tmp_path, mirror, monkeypatch, answer):
    monkeypatch.setattr("roistream.samples.templateflow.TIMEOUT_S", (5, 0.5))
    options = serve_templateflow(mirror)
    mirror.files["/login"] = b"<html>Please log in.</html>"
    body = mirror.files[TPL_IMAGE]
    mirror.behave[TPL_IMAGE] = (
        answer if answer.__name__ != "stall_in_the_middle" else lambda handler: stall(handler, body)
    )
    with pytest.raises(UserError) as raised:
        fetch_atlas(ASKED, tmp_path / "out", options, str(tmp_path / "cache"))
    if answer.__name__ == "redirect_to_a_login":
        assert "is damaged or no image" in str(raised.value)
    elif answer.__name__ == "answer_403":
        assert "TemplateFlow has no file" in str(raised.value)
    else:
        assert ANSWERS[answer] in str(raised.value)
    assert mirror.url in str(raised.value)
    mirror.behave.clear()
    fetch_atlas(ASKED, tmp_path / "out", options, str(tmp_path / "cache"))
    assert len(names_of(tmp_path / "out")) == 100


def test_templateflow_without_names(tmp_path, mirror, caplog):
    mirror.files[TPL_IMAGE] = gzip.compress(labels_bytes(2))
    fetch_atlas(ASKED, tmp_path / "out", {"url": mirror.url}, str(tmp_path / "cache"))
    assert names_of(tmp_path / "out") == ["region-1", "region-2"]
    assert "no names, only numbers" in caplog.text


def test_program(tmp_path):
    cache = tmp_path / "cache"
    options, files, names = IN_THE_CACHE["talairach"]
    filled(cache, files)
    words = ["--atlas", "talairach", "--folder", "An atlas", "--options", json.dumps(options), "--data-dir", "cache"]
    done = run_script("fetch_atlas.py", *words, "--log", "a.log", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert names_of(tmp_path / "An atlas") == names
    # A cache that has gone since is seen.
    (tmp_path / "An atlas/atlas_dseg.nii.gz").unlink()
    assert read_fetched(tmp_path / "An atlas") is None
