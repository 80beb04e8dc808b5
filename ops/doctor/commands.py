"""`ops doctor`: check everything, and print each fault with its remedy. Exit code 1 if something is wrong.

Operators read it in the language of their terminal; `--json` is English everywhere, so that scripts may compare
it.
"""

import argparse

from ops.command import Command, CommandResult, Tools
from ops.doctor import texts


async def _doctor(tools: Tools, args: argparse.Namespace) -> CommandResult:
    from ops.doctor.dns import Resolver  # noqa: PLC0415  large imports that no other command needs
    from ops.doctor.examine import examine_all  # noqa: PLC0415  see above

    found = await examine_all(
        tools,
        resolver=Resolver(args.nameserver),
        domains=args.domain,
        selectors=args.selector,
        login=not args.no_login,
    )
    findings = [
        {
            "severity": one.severity,
            "code": one.code,
            "where": one.where,
            "cause": texts.cause_text(one),
            "remedy": texts.remedy_text(one),
            "values": one.values,
        }
        for one in found
    ]
    return CommandResult(
        texts.findings_text(found, tools.language),
        {"findings": findings},
        done=all(one.severity != "wrong" for one in found),
    )


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--domain", action="append", default=[], metavar="DOMAIN", help="a further sender domain to check"
    )
    parser.add_argument(
        "--selector", action="append", default=[], metavar="NAME", help="a further DKIM selector to check"
    )
    parser.add_argument(
        "--no-login", action="store_true", help="read what the mail servers offer, without a login"
    )
    parser.add_argument(
        "--nameserver",
        default="",
        metavar="ADDRESS[:PORT]",
        help="the name server to query (default: this machine's)",
    )


DOCTOR = Command(
    "doctor",
    "check Redis, Postgres, mail servers and domains, and print faults with remedies",
    "doctor --domain example.com",
    _add_where,
    _doctor,
)
