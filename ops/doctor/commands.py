"""`ops doctor`: look at everything, say what is wrong and what to do. Exit code 1 when something is wrong."""

import argparse

from ops.command import Command, CommandResult, Tools
from ops.doctor import texts as words


async def _doctor(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    from ops.doctor.dns import Resolver  # noqa: PLC0415  these load much that no other command needs
    from ops.doctor.examine import examine_all  # noqa: PLC0415  see above

    found = await examine_all(
        tools,
        resolver=Resolver(asked.nameserver),
        domains=asked.domain,
        selectors=asked.selector,
        login=not asked.no_login,
    )
    told = [
        {
            "severity": one.severity,
            "code": one.code,
            "where": one.where,
            "cause": words.cause_text(one),
            "remedy": words.remedy_text(one),
            "values": one.values,
        }
        for one in found
    ]
    return CommandResult(
        words.findings_text(found), {"findings": told}, done=all(one.severity != "wrong" for one in found)
    )


def _takes_where(it: argparse.ArgumentParser) -> None:
    it.add_argument(
        "--domain", action="append", default=[], metavar="DOMAIN", help="a sender domain to look at too"
    )
    it.add_argument("--selector", action="append", default=[], metavar="NAME", help="a DKIM key to look for too")
    it.add_argument(
        "--no-login", action="store_true", help="ask the mail servers what they offer, and try no log-in"
    )
    it.add_argument(
        "--nameserver", default="", metavar="ADDRESS[:PORT]", help="whom to ask; left out, this machine's own"
    )


COMMANDS = (
    Command(
        "doctor",
        "look at Redis, Postgres, mail servers and domains, and say what is wrong",
        "doctor --domain example.com",
        _takes_where,
        _doctor,
    ),
)
