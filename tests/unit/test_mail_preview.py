"""`ops mail preview` shows what a backend would send, needs no server, and refuses what a backend is refused."""

import argparse
import json
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from ops.command import CommandRefused, CommandResult, Tools
from ops.mail.preview import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
VALUES = '{"task": "Cierre & más", "due": "hoy"}'
(COMMAND,) = COMMANDS


async def preview(*arguments: str, **mail: Any) -> CommandResult:
    parser = argparse.ArgumentParser()
    COMMAND.arguments(parser)
    tools = Tools(redis=Redis(port=1), redis_url="", mail=mail)
    return await COMMAND.act(tools, parser.parse_args(arguments))


async def test_the_html_part_is_written_and_the_rest_is_told(tmp_path: Path) -> None:
    values, out = tmp_path / "values.json", tmp_path / "task.html"
    values.write_text(VALUES)
    shown = await preview("task_assigned", "--values", str(values), "--locale", "en", "--out", str(out))
    assert shown.text.startswith("Subject: Task assigned: Cierre & más\n\nHello,")
    assert shown.text.endswith(f"written to {out}")
    assert "<strong>Cierre &amp; más</strong>" in out.read_text()


async def test_an_eml_file_holds_the_whole_mail_made_from_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello/es.subject").write_text("Hola {{ name }}")
    (tmp_path / "hello/es.html").write_text("<p>{{ name }}</p>")
    out = tmp_path / "hello.eml"
    values = '{"name": "Ana", "x": 1}'
    told = await preview("hello", "--values", values, "--out", str(out), templates=tmp_path, sender="A <a@e.com>")
    assert told.facts["warnings"] == ["template 'hello' does not use values.x"]
    message = message_from_bytes(out.read_bytes(), policy=policy.default)
    assert (message["Subject"], message["From"]) == ("Hola Ana", "A <a@e.com>")


async def test_what_mail_programs_will_not_show_is_told_of_the_template_that_was_asked_for(tmp_path: Path) -> None:
    for name in ("hello", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "es.subject").write_text("x")
        (tmp_path / name / "es.html").write_text(f"<style>p:is(.{name}) {{ top: 0 }}</style><p>x</p>")
    told = await preview("hello", "--templates", str(tmp_path))
    (warning,) = told.facts["warnings"]
    assert warning.startswith("template 'hello' in 'es': p:is(.hello): stays in <style>, which few mail programs")
    assert "\nwarning: template 'hello'" in told.text


async def test_a_language_falls_back_as_it_does_for_a_backend() -> None:
    values = ("task_assigned", "--values", VALUES)
    assert (await preview(*values, "--locale", "EN_gb")).text.startswith("Subject: Task assigned")
    assert (await preview(*values, "--locale", "de", "--default-locale", "en")).text.startswith("Subject: Task")
    with pytest.raises(CommandRefused, match="not written in 'de'"):
        await preview(*values, "--locale", "de")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("task_asigned",), "did you mean 'task_assigned'"),
        (("task_assigned",), "needs due, task"),
        (("task_assigned", "--values", "nowhere.json"), "neither a JSON object nor a readable file"),
        (("task_assigned", "--values", '{"task": 1'), "not JSON"),
        (("digest", "--values", '{"tasks": "abc"}'), "loops over it"),
        (("task_assigned", "--values", VALUES, "--out", "no/such/folder/b.html"), "cannot be written"),
        (("task_assigned", "--templates", "no/such/folder"), "is not a folder"),
    ],
)
async def test_a_mistake_is_refused_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandRefused, match=words) as refusal:
        await preview(*arguments)
    assert "\n" not in str(refusal.value)


def test_it_works_where_no_redis_is_named() -> None:
    command = [sys.executable, "-m", "ops", "mail", "preview", "task_assigned", "--values", VALUES, "--json"]
    told = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert json.loads(told.stdout)["subject"] == "Tarea asignada: Cierre & más"
