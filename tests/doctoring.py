"""What the doctor says of an installation, and with which exit codes `doctor` and `depth` end."""

import json
from collections.abc import Mapping

from tests.command_line import run_ops


async def findings(**settings: str) -> Mapping[str, str]:
    """Every finding that is not fine: its code, to its severity."""
    code, out, err = await run_ops("doctor", "--json", "--no-login", **settings)
    found = json.loads(out)["findings"]
    assert err == ""
    assert (code == 1) == any(one["severity"] == "wrong" for one in found)
    assert all(one["remedy"] for one in found if one["severity"] != "fine")
    return {one["code"]: one["severity"] for one in found if one["severity"] != "fine"}


async def depth_code(**settings: str) -> int:
    """The exit code of `depth`; 1 only with a line that says what is wrong."""
    code, out, _ = await run_ops("depth", **settings)
    facts = json.loads((await run_ops("depth", "--json", **settings))[1])
    assert (code == 1) == bool(facts["wrong"])
    assert code == 0 or any(word in out for word in ("WRONG", "NOT CONSERVED", "DATA LOST", "reports fail"))
    return code


async def cause(code: str, **settings: str) -> str:
    """What the doctor says of a finding, and its remedy."""
    _, out, _ = await run_ops("doctor", "--json", "--no-login", **settings)
    return "; ".join(
        f"{one['cause']} -> {one['remedy']}" for one in json.loads(out)["findings"] if one["code"] == code
    )
