# ruff: noqa: F811
"""What servers and archives can do to a download, from a real HTTP server on this machine; and two runs that share a cache."""

import io
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import nilearn.datasets._utils
import pytest

from conftest import ROOT
from fetch_adhd import fetch_adhd
from fetch_basc import fetch_basc
from roistream.errors import UserError
from roistream.samples import adhd
from roistream.samples.cache import SUMS, alone_in
from unit.test_fetch_adhd import (
    SUBJECTS,
    _no_proxy,  # noqa: F401 - a fixture, as others below
    archive_path,
    assert_fetched,
    cache,  # noqa: F401
    failure,
    image_bytes,
    mirror,  # noqa: F401
    places,  # noqa: F401
    regressors_bytes,
    subject_archive,
)
from unit.test_fetch_basc import cached_path, save_labels

SECOND = archive_path(SUBJECTS[1])


def begin(handler, body, share):
    """Send the head of an answer and a share of its body."""
    handler.send_response(200)
    handler.send_header("Content-Length", len(body))
    handler.end_headers()
    handler.wfile.write(body[: int(len(body) * share)])
    handler.wfile.flush()


def answer_500(handler):
    handler.send_error(500)


def answer_503(handler):
    handler.send_error(503)


def answer_403(handler):
    handler.send_error(403)


def stall_at_once(handler):
    time.sleep(1.5)


def stall_in_the_middle(handler):
    begin(handler, handler.server.files[SECOND], 0.5)
    time.sleep(1.5)


def redirect_to_a_login(handler):
    handler.send_response(302)
    handler.send_header("Location", "/frs/login")
    handler.end_headers()


def redirect_for_ever(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


ANSWERS = {
    answer_403: "the server answers 403 Forbidden",
    answer_500: "the server answers 500 Internal Server Error",
    answer_503: "the server answers 503 Service Unavailable",
    stall_at_once: "the server does not answer in time",
    stall_in_the_middle: "the server does not answer in time",
    redirect_to_a_login: "could not be fetched",
    redirect_for_ever: "Exceeded 30 redirects",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_what_a_server_may_answer(mirror, places, monkeypatch, answer):
    monkeypatch.setattr(nilearn.datasets._utils, "_REQUESTS_TIMEOUT", (5, 0.5))
    mirror.files["/login"] = b"<html>Please log in.</html>"
    mirror.behave[SECOND] = answer
    message = failure(mirror, places)
    assert SUBJECTS[1] in message
    assert mirror.url in message
    assert ANSWERS[answer] in message
    mirror.behave.clear()
    mirror.requests.clear()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    assert archive_path(SUBJECTS[0]) not in [path for path, _ in mirror.requests], "what is there is not fetched again"


@pytest.mark.parametrize("share", [0, 0.5])
def test_reset(tmp_path, places, share):
    """A server that breaks the connection off, before or amid its answer, so that the kernel sends a reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            connection.recv(65536)
            if share:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * int(100_000 * share))
                time.sleep(0.2)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError) as raised:
            fetch_adhd(**places, url=url)
        thread.join()
    message = str(raised.value)
    assert url in message
    assert ("broke off" if share else "Connection reset by peer") in message
    assert message.endswith("run again.")


def outward(kind, target):
    """Make an archive of a subject that holds a member leading out of the cache, and everything that is wanted."""
    subject, stream = SUBJECTS[1], io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:

        def add(name, content=b"", type_=tarfile.REGTYPE, link=""):
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), type_, link
            tar.addfile(member, io.BytesIO(content))

        if kind == "parent":
            add("../" * 8 + str(target / "evil").lstrip("/"), b"evil")
        elif kind == "sibling":  # its path begins as the folder's does
            add("../evil", b"evil")
        elif kind == "absolute":
            add(str(target / "evil"), b"evil")
        elif kind == "link and file":
            add("data/way", type_=tarfile.SYMTYPE, link=str(target))
            add("data/way/evil", b"evil")
        elif kind == "relative link":
            add("data/way", type_=tarfile.SYMTYPE, link="../" * 8 + str(target).lstrip("/"))
            add("data/way/evil", b"evil")
        elif kind == "hard link":
            add(adhd.confounds_path(subject), type_=tarfile.LNKTYPE, link=str(target / "precious"))
        elif kind == "device":
            add("data/device", type_=tarfile.CHRTYPE)
        elif kind == "run is a link":
            add(adhd.run_path(subject), type_=tarfile.SYMTYPE, link=str(target / "precious"))
        if kind != "run is a link":
            add(adhd.run_path(subject), image_bytes(1))
        if kind != "hard link":
            add(adhd.confounds_path(subject), regressors_bytes())
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["parent", "sibling", "absolute", "link and file", "relative link", "hard link", "device", "run is a link"],
)
def test_an_archive_that_leads_out(mirror, places, cache, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = image_bytes(2)
    (outside / "precious").write_bytes(precious)
    served, mirror.files[SECOND] = mirror.files[SECOND], outward(kind, outside)
    message = failure(mirror, places)
    assert f"Subject {SUBJECTS[1]}" in message
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_bytes() == precious
    assert not list(tmp_path.rglob("evil"))
    assert not [path for path in cache.rglob("*") if path.is_symlink()]
    mirror.files[SECOND] = served
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)


def test_what_was_fetched_is_known_again(mirror, places, cache):
    fetch_adhd(**places, url=mirror.url)
    names = [f(subject) for subject in SUBJECTS for f in (adhd.run_path, adhd.confounds_path)]
    done = subprocess.run(["sha256sum", "--check", SUMS], cwd=cache, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(line.removesuffix(": OK") for line in done.stdout.splitlines()) == sorted([adhd.PHENOTYPES, *names])
    # Sound, of the right length, and another one all the same.
    run = cache / adhd.run_path(SUBJECTS[2])
    run.write_bytes(image_bytes(99))
    with pytest.raises(
        UserError, match=r"is not what was fetched: its SHA-256 is not that in .*; delete this file"
    ) as raised:
        fetch_adhd(**places, url=mirror.url)
    assert str(raised.value).startswith(str(run))
    run.unlink()
    fetch_adhd(**places, url=mirror.url)
    assert_fetched(places)
    # A server that has a new version is believed where the old file is gone.
    run.unlink()
    (cache / adhd.confounds_path(SUBJECTS[2])).unlink()
    new = image_bytes(99)
    mirror.files[archive_path(SUBJECTS[2])] = subject_archive(SUBJECTS[2], image=new)
    for _ in range(2):
        fetch_adhd(**places, url=mirror.url)
    assert run.read_bytes() == new


def test_an_atlas_is_known_again(tmp_path):
    """Also one that was placed by hand: it is what it was at first sight."""
    cached = save_labels(cached_path(tmp_path, 7), 7)
    for _ in range(2):
        fetch_basc(tmp_path / "basc.nii.gz", str(tmp_path), 7)
    assert cached.name in (tmp_path / "basc_multiscale_2015" / SUMS).read_text()
    save_labels(cached, 7, shape=(8, 6, 7))
    with pytest.raises(UserError, match="is not what was fetched"):
        fetch_basc(tmp_path / "basc.nii.gz", str(tmp_path), 7)


def test_two_runs_share_a_cache(mirror, places, tmp_path):
    """Neither spoils what the other fetches, and each archive is fetched once."""
    both = []
    for name in ("one", "two"):
        folder = tmp_path / name
        there = {key: [folder / path.name for path in places[key]] for key in ("runs", "confounds")}
        command = [sys.executable, ROOT / "scripts/fetch_adhd.py", "--runs", *there["runs"], "--confounds"]
        command += [*there["confounds"], "--participants", folder / "participants.tsv"]
        command += ["--data-dir", places["data_dir"], "--url", mirror.url]
        both.append((subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True), there, folder))
    for process, there, folder in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert_fetched({**there, "participants": folder / "participants.tsv"})
    requests = [path for path, _ in mirror.requests]
    assert sorted(requests) == sorted(["/7781/adhd40_metadata.tgz", *map(archive_path, SUBJECTS)])


def test_who_comes_second_waits_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    order, folder = [], tmp_path / "adhd"
    with alone_in(folder):

        def second():
            with alone_in(folder):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        deadline_s = time.monotonic() + 60
        while "waiting for it" not in caplog.text and time.monotonic() < deadline_s:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert str(folder) in caplog.text


def test_a_folder_that_cannot_be_made_is_for_nilearn_to_tell(tmp_path):
    (tmp_path / "file").touch()
    with alone_in(Path(tmp_path / "file/adhd")):
        pass
