"""What a mail refers to is read from the worker's folder, whole and unchanged, and nothing else can be."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from worker.engine import GiveUp, TryLater
from worker.mail.attachments import read_attachments

CONTENT = b"a;b\n1;2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_bytes(CONTENT)
    root = tmp_path / "root"
    (root / "2026/11").mkdir(parents=True)
    (root / "2026/11/informe.csv").write_bytes(CONTENT)
    return root


def mail(ref: str = "2026/11/informe.csv", **change: Any) -> dict[str, Any]:
    file = {"name": "informe.csv", "ref": ref, "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return {"attachments": [{"name": "inline.txt", "content": "eA=="}, {**file, **change}]}


async def test_a_file_is_read_by_its_reference(folder: Path) -> None:
    assert await read_attachments(mail(), folder) == {"2026/11/informe.csv": CONTENT}
    assert await read_attachments({}, None) == {}
    assert await read_attachments({"attachments": [{"name": "a", "content": "eA=="}]}, None) == {}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (mail("2026/11/gone.csv"), "is missing"),
        (mail("2026/11/informe.csv/x"), "is missing"),
        (mail(size=7), "8 bytes, not 7"),
        (mail(sha256="0" * 64), "its SHA-256 differs"),
        (mail("2026/11"), "is not a regular file"),
        (mail("../secret.txt"), "outside"),
        (mail("2026/../../secret.txt"), "outside"),
        (mail("a\0b"), "outside"),
        (mail(""), "outside"),
    ],
)
async def test_a_file_that_vanished_or_changed_is_the_mail_s_fault_and_is_named(
    folder: Path, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(GiveUp, match=words) as given_up:
        await read_attachments(asked, folder)
    assert "'informe.csv'" in str(given_up.value)
    assert str(folder) not in str(given_up.value)


async def test_an_absolute_path_is_outside(folder: Path) -> None:
    with pytest.raises(GiveUp, match="outside"):
        await read_attachments(mail(str(folder.parent / "secret.txt")), folder)


async def test_no_symbolic_link_is_followed_and_no_pipe_is_waited_for(folder: Path) -> None:
    (folder / "file").symlink_to(folder.parent / "secret.txt")
    (folder / "way").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe")
    for ref, words in (
        ("file", "is missing"),
        ("way/secret.txt", "is missing"),
        ("pipe", "is not a regular file"),
    ):
        with pytest.raises(GiveUp, match=words):
            await read_attachments(mail(ref), folder)


async def test_a_folder_that_is_not_configured_or_not_there_lets_the_mail_wait_uncharged(folder: Path) -> None:
    for root in (None, folder / "unmounted", folder / "2026/11/informe.csv"):
        with pytest.raises(TryLater, match="MOMENTUS_MAIL__ATTACHMENTS") as later:
            await read_attachments(mail(), root)
        assert not later.value.charged


@pytest.mark.parametrize("files", [[{"ref": "a"}], [{"ref": "a", "name": "a", "size": "x", "sha256": ""}], [5], 5])
async def test_what_another_producer_wrote_wrongly_is_given_up(folder: Path, files: Any) -> None:
    with pytest.raises(GiveUp, match="cannot be read"):
        await read_attachments({"attachments": files}, folder)
