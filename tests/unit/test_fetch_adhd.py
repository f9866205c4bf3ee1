"""Every case fetches with nilearn from a real HTTP server on this machine."""

import gzip
import hashlib
import http.server
import io
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import fetch_adhd as script
from conftest import run_script
from fetch_adhd import fetch_adhd
from roistream.errors import UserError
from roistream.samples import adhd
from roistream.samples.cache import SUMS

SUBJECTS = adhd.SUBJECT_IDS[:3]
N_VOLUMES = 20


class Mirror(http.server.ThreadingHTTPServer):
    """Serves `files` (path → bytes); `behave` (path → function of the handler) does something else instead."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.behave = {}
        self.requests = []
        self.ranges = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/frs"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.removeprefix("/frs")
        self.server.requests.append((path, self.headers.get("Range")))
        if path in self.server.behave:
            self.server.behave[path](self)
        elif path not in self.server.files:
            self.send_error(404)
        else:
            self.send(self.server.files[path])

    def send(self, body):
        requested = self.headers.get("Range")
        if requested and self.server.ranges:
            first = int(requested.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            body = body[first:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def image_bytes(seed, n_volumes=N_VOLUMES):
    data = np.random.default_rng(seed).normal(size=(9, 8, 7, n_volumes)).astype(np.float32)
    return gzip.compress(nib.Nifti1Image(data, adhd.AFFINE).to_bytes(), 1)


def regressors_bytes(n_rows=N_VOLUMES):
    table = pd.DataFrame(np.ones((n_rows, len(adhd.REGRESSORS))), columns=adhd.REGRESSORS)
    return table.to_csv(sep="\t", index=False).encode()


def phenotypes_bytes():
    """As the original: with row numbers, and ids without their leading zeros."""
    ids = [int(subject) for subject in reversed(adhd.SUBJECT_IDS)]
    return pd.DataFrame({"Subject": ids, "age": np.arange(40) / 4, "sex": ["F", ""] * 20}).to_csv().encode()


def archive(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def archive_path(subject):
    return f"/{7782 + adhd.SUBJECT_IDS.index(subject)}/adhd40_{subject}.tgz"


def subject_archive(subject, image=None, regressors=None):
    return archive(
        {
            adhd.run_path(subject): image or image_bytes(int(subject)),
            adhd.confounds_path(subject): regressors or regressors_bytes(),
        }
    )


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror():
    with Mirror() as server:
        server.files["/7781/adhd40_metadata.tgz"] = archive({adhd.PHENOTYPES: phenotypes_bytes()})
        server.files |= {archive_path(subject): subject_archive(subject) for subject in SUBJECTS}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def places(tmp_path):
    """Keyword arguments for fetch_adhd, as the rule gives them."""
    folder = tmp_path / "work" / "resources" / "adhd"
    return {
        "runs": [folder / adhd.run_path(subject) for subject in SUBJECTS],
        "confounds": [folder / adhd.confounds_path(subject) for subject in SUBJECTS],
        "participants": folder / "participants.tsv",
        "data_dir": str(tmp_path / "cache"),
    }


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "adhd"


def failure(mirror, places):
    """The message of a fetch that fails; it is one sentence and leaves no output."""
    with pytest.raises(UserError) as raised:
        fetch_adhd(**places, url=mirror.url)
    message = str(raised.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert not places["participants"].parent.exists()
    return message


def assert_fetched(places):
    for subject, run, confounds in zip(SUBJECTS, places["runs"], places["confounds"], strict=True):
        expected = nib.Nifti1Image.from_bytes(gzip.decompress(image_bytes(int(subject))))
        assert np.array_equal(nib.load(run).dataobj, expected.dataobj)
        assert len(pd.read_csv(confounds, sep="\t")) == N_VOLUMES
    participants = pd.read_csv(places["participants"], sep="\t", dtype=str)
    assert list(participants["Subject"]) == list(SUBJECTS)


def test_everything_is_fetched_and_linked(mirror, places, cache):
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    for subject, run in zip(SUBJECTS, places["runs"], strict=True):
        assert run.is_symlink()
        assert run.readlink() == cache / adhd.run_path(subject)
    assert [path for path, _ in mirror.requests] == ["/7781/adhd40_metadata.tgz", *map(archive_path, SUBJECTS)]
    assert sorted(path.name for path in cache.iterdir()) == [adhd.PHENOTYPES, SUMS, "data"]


def test_phenotypic_table_has_the_subjects_in_order(mirror, places):
    fetch_adhd(**places, url=mirror.url)
    text = places["participants"].read_text()
    assert text == "Subject\tage\tsex\n0010042\t9.75\tn/a\n0010064\t9.5\tF\n0010128\t9.25\tn/a\n"


def test_subject_without_phenotypes_has_a_row_that_says_so(mirror, places, caplog):
    mirror.files["/7781/adhd40_metadata.tgz"] = archive({adhd.PHENOTYPES: b",Subject,age\n1,10042,8.5\n2,10128,7.5\n"})
    fetch_adhd(**places, url=mirror.url)
    assert places["participants"].read_text() == "Subject\tage\n0010042\t8.5\n0010064\tn/a\n0010128\t7.5\n"
    assert "has no row for 0010064" in caplog.text


def test_complete_cache_makes_no_request(mirror, places):
    fetch_adhd(**places, url=mirror.url)
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    assert mirror.requests == []


def test_more_subjects_fetch_only_what_is_missing(mirror, places):
    fewer = {**places, "runs": places["runs"][:1], "confounds": places["confounds"][:1]}
    fetch_adhd(**fewer, url=mirror.url)
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url + "/")
    assert_fetched(places)
    assert [path for path, _ in mirror.requests] == [archive_path(subject) for subject in SUBJECTS[1:]]


def test_links_are_renewed(mirror, places):
    places["runs"][0].parent.mkdir(parents=True)
    places["runs"][0].symlink_to("/nowhere")
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_relative_cache_gives_absolute_links(mirror, places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetch_adhd(**{**places, "data_dir": "cache"}, url=mirror.url)
    assert_fetched(places)
    assert places["confounds"][0].readlink().is_absolute()


def test_cache_in_the_very_place_of_the_links(mirror, places, tmp_path):
    places["data_dir"] = str(tmp_path / "work" / "resources")
    for _ in range(2):
        fetch_adhd(**places, url=mirror.url)
        assert_fetched(places)
        assert not places["runs"][0].is_symlink()


def test_default_cache_is_nilearns(mirror, places, tmp_path, monkeypatch):
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path / "default"))
    monkeypatch.delenv("NILEARN_SHARED_DATA", raising=False)
    fetch_adhd(**{**places, "data_dir": None}, url=mirror.url)
    assert_fetched(places)
    assert places["runs"][0].readlink().is_relative_to(tmp_path / "default" / "adhd")


def test_nobody_listens(places):
    with Mirror() as server:
        gone = server
    message = failure(gone, places)
    assert f"{gone.url}/7781/adhd40_metadata.tgz" in message
    assert "Connection refused" in message


@pytest.mark.parametrize("path", ["/7781/adhd40_metadata.tgz", archive_path(SUBJECTS[1])])
def test_missing_archive(mirror, places, path):
    served = mirror.files.pop(path)
    message = failure(mirror, places)
    assert f"{mirror.url}{path}" in message
    assert "the server answers 404 Not Found" in message
    mirror.files[path] = served
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_url_of_another_kind(mirror, places, tmp_path):
    with pytest.raises(UserError, match="No connection adapters"):
        fetch_adhd(**places, url=f"file://{tmp_path}")


@pytest.mark.parametrize("ranges", [False, True])
def test_body_shorter_than_announced(mirror, places, ranges):
    def half(handler):
        body = mirror.files[path]
        handler.send_response(200)
        handler.send_header("Content-Length", len(body))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])

    mirror.ranges = ranges
    path = archive_path(SUBJECTS[1])
    mirror.behave[path] = half
    message = failure(mirror, places)
    assert mirror.url in message
    assert "broke off" in message

    mirror.behave.clear()
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    # What has arrived is used if the server can go on from there; the first subject is not fetched again.
    assert mirror.requests[0][1].startswith("bytes=")
    assert [requested for requested, _ in mirror.requests[:2]] == (
        [path, archive_path(SUBJECTS[2])] if ranges else [path] * 2
    )


def test_resumed_download_of_an_archive_that_has_changed(mirror, places):
    """The two halves do not fit: the check sum tells, and the next attempt starts afresh."""
    path, sound = archive_path(SUBJECTS[0]), mirror.files[archive_path(SUBJECTS[0])]

    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", len(sound))
        handler.end_headers()
        handler.wfile.write(sound[: len(sound) // 2])

    mirror.ranges = True
    mirror.behave[path] = half
    failure(mirror, places)
    mirror.behave.clear()
    mirror.files[path] = subject_archive(SUBJECTS[0], image=image_bytes(99))
    assert mirror.url in failure(mirror, places)
    mirror.files[path] = sound
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def broken_bodies():
    sound = subject_archive(SUBJECTS[1])
    return {
        "truncated": sound[: len(sound) // 2],
        "truncated inside the gzip stream": gzip.compress(gzip.decompress(sound)[:30_000]),
        "damaged": sound[: len(sound) // 2] + b"\0" * 50 + sound[len(sound) // 2 + 50 :],
        "web page": b"<html>Please log in.</html>",
        "compressed web page": gzip.compress(b"<html>Please log in.</html>"),
        "empty": b"",
        "other subject": subject_archive(SUBJECTS[2]),
        "without the table": archive({adhd.run_path(SUBJECTS[1]): image_bytes(1)}),
    }


@pytest.mark.parametrize("case", broken_bodies())
def test_archive_is_none(mirror, places, cache, case):
    path = archive_path(SUBJECTS[1])
    served = mirror.files[path]
    mirror.files[path] = broken_bodies()[case]
    message = failure(mirror, places)
    assert f"Subject {SUBJECTS[1]}" in message
    assert mirror.url in message

    mirror.files[path] = served
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    assert archive_path(SUBJECTS[0]) not in [requested for requested, _ in mirror.requests]


@pytest.mark.parametrize("body", [b"<html>Please log in.</html>", archive({adhd.PHENOTYPES: b"id\n1\n"})])
def test_phenotypes_are_none(mirror, places, cache, body):
    mirror.files["/7781/adhd40_metadata.tgz"] = body
    failure(mirror, places)
    if (cache / adhd.PHENOTYPES).exists():
        message = failure(mirror, places)
        assert f"{cache / adhd.PHENOTYPES} has no column 'Subject'; delete this file" in message


BROKEN_IMAGES = {
    "is cut off": image_bytes(1)[:-3000],
    "is damaged or no image": image_bytes(1)[:20_000] + b"damaged" + image_bytes(1)[20_007:],
    "is 3D instead of 4D": gzip.compress(nib.Nifti1Image(np.ones((5, 5, 5), np.float32), np.eye(4)).to_bytes()),
    "bytes instead of the": gzip.compress(gzip.decompress(image_bytes(1))[:-4]),
}


@pytest.mark.parametrize("problem", BROKEN_IMAGES)
def test_image_in_the_archive_is_broken(mirror, places, cache, problem):
    """Nothing broken stays in the cache, where nilearn would take it for good."""
    path = archive_path(SUBJECTS[1])
    served = mirror.files[path]
    mirror.files[path] = subject_archive(SUBJECTS[1], image=BROKEN_IMAGES[problem])
    message = failure(mirror, places)
    assert message.startswith(f"{cache / adhd.run_path(SUBJECTS[1])} ")
    assert problem in message
    assert mirror.url in message
    mirror.files[path] = served
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_broken_image_in_the_cache_is_the_users(mirror, places, cache):
    fetch_adhd(**places, url=mirror.url)
    run = cache / adhd.run_path(SUBJECTS[2])
    run.write_bytes(run.read_bytes()[:-100])
    mirror.requests.clear()
    with pytest.raises(UserError, match=r"is cut off before its end; delete this file") as raised:
        fetch_adhd(**places, url=mirror.url)
    assert str(raised.value).startswith(str(run))
    assert run.exists()
    assert mirror.requests == []
    run.unlink()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_regressors_of_another_length(mirror, places, cache):
    mirror.files[archive_path(SUBJECTS[0])] = subject_archive(SUBJECTS[0], regressors=regressors_bytes(N_VOLUMES - 1))
    message = failure(mirror, places)
    assert message.startswith(str(cache / adhd.confounds_path(SUBJECTS[0])))
    assert "has 19 rows for the 20 volumes" in message


def test_regressors_in_the_cache_are_no_table(mirror, places, cache):
    fetch_adhd(**places, url=mirror.url)
    (cache / adhd.confounds_path(SUBJECTS[0])).write_bytes(b"")
    with pytest.raises(UserError, match=r"0010042_regressors.csv is no tab-separated table .*; delete this file"):
        fetch_adhd(**places, url=mirror.url)


@pytest.mark.parametrize("ranges", [False, True])
def test_killed_in_mid_transfer(mirror, places, cache, ranges):
    path, release = archive_path(SUBJECTS[1]), threading.Event()

    def stall(handler):
        body = mirror.files[path]
        handler.send_response(200)
        handler.send_header("Content-Length", len(body))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        release.wait(60)

    mirror.ranges = ranges
    mirror.behave[path] = stall
    code = """
import pickle, sys
from fetch_adhd import fetch_adhd
fetch_adhd(**pickle.load(sys.stdin.buffer))
"""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(script.__file__).parent, stdin=subprocess.PIPE)
    with child.stdin as stdin:
        pickle.dump({**places, "url": mirror.url}, stdin)
    try:
        deadline = time.monotonic() + 60
        while not [part for part in cache.glob("*/*.part") if part.stat().st_size > 8000]:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        release.set()
    assert not places["participants"].parent.exists()

    mirror.behave.clear()
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    assert mirror.requests[0][0] == path
    assert mirror.requests[0][1].startswith("bytes=")
    assert sorted(left.name for left in cache.iterdir()) == [adhd.PHENOTYPES, SUMS, "data"]


def test_killed_while_unpacking(mirror, places, cache):
    """What nilearn leaves then: a half-written image in its temporary folder, which the next call takes for whole."""
    subject = SUBJECTS[0]
    wanted = [(adhd.run_path(subject), f"{mirror.url}{archive_path(subject)}")]
    temporary = cache / hashlib.md5(pickle.dumps(wanted)).hexdigest()
    (temporary / adhd.run_path(subject)).parent.mkdir(parents=True)
    (temporary / adhd.confounds_path(subject)).write_bytes(regressors_bytes())
    (temporary / adhd.run_path(subject)).write_bytes(image_bytes(int(subject))[:-3000])

    message = failure(mirror, places)
    assert "is cut off" in message
    assert not temporary.exists()  # nilearn did take it: this test looks at the right folder
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_cache_that_cannot_be_made(mirror, places, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    places["data_dir"] = str(tmp_path / "file" / "cache")
    with pytest.raises(UserError, match="tried to store the dataset"):
        fetch_adhd(**places, url=mirror.url)


def test_program(mirror, places, tmp_path):
    options = ["--runs", *places["runs"], "--confounds", *places["confounds"], "--participants", places["participants"]]
    options += ["--data-dir", "Zwischen lager", "--url", mirror.url, "--log", "fetch.log"]
    done = run_script("fetch_adhd.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_fetched(places)
    assert places["runs"][0].readlink() == tmp_path / "Zwischen lager" / "adhd" / adhd.run_path(SUBJECTS[0])
    assert (tmp_path / "fetch.log").read_text() == done.stderr
    failed = run_script("fetch_adhd.py", *options, "--confounds", "one.csv", cwd=tmp_path)
    assert failed.returncode == 2
    assert "--runs and --confounds: give one of each for 1 to 40 subjects" in failed.stderr
