"""Anything may be behind a path: each kind is told as what it is, and a file under any name is that file."""

import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import save_run
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.paths import as_argument, brace_free, check_file, identity, shown


def told(path):
    with pytest.raises(UserError) as error:
        check_file(path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    return str(error.value)


@pytest.mark.parametrize("name", ["a b.nii", "[x] *.nii", "{a}.nii", "~", "-x", "größe'\".tsv", "line\nbreak", "$HOME"])
def test_any_name_is_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("content")
    check_file(name)
    check_file(tmp_path / name)


def test_nothing_there(tmp_path):
    assert told(tmp_path / "a.nii") == f"{tmp_path}/a.nii does not exist; check the path."
    (tmp_path / "file").touch()
    assert (
        told(tmp_path / "file/a.nii")
        == f"{tmp_path}/file/a.nii does not exist, {tmp_path}/file is a file; check the path."
    )


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a.nii").symlink_to(".git/annex/objects/Xx/9k/MD5E-s129--a.nii/MD5E-s129--a.nii")
    (tmp_path / "b.nii").symlink_to("../moved/b.nii")
    (tmp_path / "sub-01").symlink_to("../moved/sub-01")
    (tmp_path / "loop").symlink_to("loop")
    assert "is a link of git-annex whose content was not fetched; fetch it (datalad get" in told(tmp_path / "a.nii")
    assert "b.nii is a link to ../moved/b.nii, which is not there" in told(tmp_path / "b.nii")
    assert f"does not exist: {tmp_path}/sub-01 is a link to ../moved/sub-01" in told(tmp_path / "sub-01/a.nii")
    assert "leads back to itself" in told(tmp_path / "loop")


def test_what_is_no_file(tmp_path):
    """A pipe above all: opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket")
    found = [told(path) for path in (tmp_path, tmp_path / "pipe", tmp_path / "socket", "/dev/null")]
    assert [text.rpartition(" is ")[2] for text in found] == [
        f"{kind}; give a file." for kind in ("a folder", "a pipe", "a socket", "a device")
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("/annex/objects/MD5E-s129--b3b0.nii.gz\n", ["git-annex", "datalad get"]),
        ("version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 12345\n", ["Git LFS", "git lfs pull"]),
    ],
)
def test_pointers_to_content_elsewhere(tmp_path, content, words):
    path = tmp_path / "a.nii.gz"
    path.write_text(content)
    assert all(word in told(path) for word in words)
    with pytest.raises(UserError, match="a pointer of"):
        inspect(path)


def test_paths_that_cannot_be(tmp_path):
    text = told(tmp_path / ("x" * 300))
    assert "is too long for a path" in text
    assert len(text) < 500
    assert "is too long for a path" in told("/".join(["abc"] * 2000))
    assert "null" in told("a\0b")


@pytest.fixture
def open_folder():
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(function, *arguments):
    """Call a function that gives text in a copy of this process that is no longer root."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.setuid(65534)
            os.write(writing, function(*arguments).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as stream:  # noqa: PTH123 (a descriptor)
        found = stream.read()
    os.waitpid(child, 0)
    return found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not")
def test_files_that_this_user_may_not_read(open_folder):
    for name, mode in {"secret.nii": 0, "closed/a.nii": 0o644, "fine.nii": 0o644}.items():
        (open_folder / name).parent.mkdir(exist_ok=True)
        (open_folder / name).write_text("x")
        (open_folder / name).chmod(mode)
    (open_folder / "closed").chmod(0)
    (open_folder / "link.nii").symlink_to("closed/a.nii")
    for name in ("secret.nii", "closed/a.nii", "link.nii"):
        text = as_nobody(told, open_folder / name)
        assert text.startswith(f"{open_folder / name} may not be read by this user; change the permissions")
    assert as_nobody(lambda path: str(check_file(path)), open_folder / "fine.nii") == "None"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=700))
def test_a_path_is_shown_in_one_line(text):
    assert len(shown(text).splitlines()) <= 1
    assert len(shown(text)) <= 330


# The same file


def test_a_file_is_known_by_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("same")
    (tmp_path / "copy").write_text("same")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "folder").symlink_to(".")
    names = ["a", "./a", tmp_path / "a", "hard", "link", "folder/a"]
    assert len({identity(name) for name in names}) == 1
    assert len({identity(name) for name in ("a", "copy", "absent", "other")}) == 4
    assert identity("absent") == identity(tmp_path / "x/../absent")


# Names that other programs would take for more


def test_no_braces_reach_snakemake(tmp_path, monkeypatch):
    inside = tmp_path / "{a}" / "work"
    (inside / "{image} x").mkdir(parents=True)
    run = save_run(inside / "{image} x" / "r_{n}.nii", np.zeros((2, 2, 2, 3), np.float32))
    monkeypatch.chdir(inside)
    assert brace_free("plain.nii", "links") == "plain.nii"
    assert brace_free(inside / "plain.nii", "links") == "plain.nii"
    for name in (run, run.relative_to(inside)):
        made = brace_free(name, "links")
        assert "{" not in made
        assert identity(made) == identity(run)
        before = os.lstat(made)
        assert brace_free(name, "links") == made
        assert os.lstat(made) == before
        assert before.st_mtime_ns == run.stat().st_mtime_ns
    assert brace_free(inside / "{image} x/r_{m}.nii", "links") != made


def test_no_path_looks_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    assert as_argument(Path("-x.nii")) == tmp_path / "-x.nii"
    assert as_argument(Path("a/-x.nii")) == Path("a/-x.nii")
