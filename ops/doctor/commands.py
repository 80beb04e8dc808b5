"""`ops doctor`: check everything, and print each fault with its remedy. Exit code 1 if something is wrong."""

import argparse

from ops.command import Command, CommandResult, Tools
from ops.doctor import texts as words


async def _doctor(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    from ops.doctor.dns import Resolver  # noqa: PLC0415  large imports that no other command needs
    from ops.doctor.examine import examine_all  # noqa: PLC0415  see above

    found = await examine_all(
        tools,
        resolver=Resolver(asked.nameserver),
        domains=asked.domain,
        selectors=asked.selector,
        login=not asked.no_login,
    )
    findings = [
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
        words.findings_text(found), {"findings": findings}, done=all(one.severity != "wrong" for one in found)
    )


def _takes_where(it: argparse.ArgumentParser) -> None:
    it.add_argument(
        "--domain", action="append", default=[], metavar="DOMAIN", help="a further sender domain to check"
    )
    it.add_argument(
        "--selector", action="append", default=[], metavar="NAME", help="a further DKIM selector to check"
    )
    it.add_argument("--no-login", action="store_true", help="read what the mail servers offer, without a login")
    it.add_argument(
        "--nameserver",
        default="",
        metavar="ADDRESS[:PORT]",
        help="the name server to query (default: this machine's)",
    )


COMMANDS = (
    Command(
        "doctor",
        "check Redis, Postgres, mail servers and domains, and print faults with remedies",
        "doctor --domain example.com",
        _takes_where,
        _doctor,
    ),
)
