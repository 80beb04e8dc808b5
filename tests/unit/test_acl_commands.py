"""The scripts of a room use no command that the role which runs them lacks."""

import re
from pathlib import Path

import pytest

from ops.acl import ROLES

ROOT = Path(__file__).resolve().parents[2]
_CALL = re.compile(r"redis\.p?call\('([A-Z]+)'")
_RUNS = {
    "sessions": ("sessions/*.lua",),
    "worker": ("producers/scripts/*.lua", "worker/*/scripts/*.lua"),
    "ops": ("producers/scripts/*.lua", "ops/scripts/*.lua", "ops/*/scripts/*.lua", "sessions/*.lua"),
}


@pytest.mark.parametrize("name", _RUNS)
def test_a_role_may_run_every_command_of_its_scripts(name: str) -> None:
    (role,) = [one for one in ROLES if one.name == name]
    granted = {word for part in (role.commands, *(one.commands for one in role.grants)) for word in part.split()}
    files = [file for pattern in _RUNS[name] for file in ROOT.glob(pattern)]
    used = {(file.name, command.lower()) for file in files for command in _CALL.findall(file.read_text("utf-8"))}
    assert used, "the scripts are where they were"
    assert {one for one in used if one[1] not in granted} == set()
