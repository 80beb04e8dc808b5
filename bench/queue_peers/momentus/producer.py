"""Hands over by `send` and `send_many`, as a backend does; a message is as plain as the others' payload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import uvloop

from bench.queue_peers.contract import URL, Mail, produce
from producers import Producer


@dataclass(frozen=True, slots=True)
class _Message:
    content: Mail
    kind: str = "job"
    lane: str = "mail.normal"

    def fingerprint(self) -> str:
        return self.content["message_id"]

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:  # noqa: ARG002  nothing of it depends on them
        return self.content


async def _main() -> None:
    async with Producer.connect(URL, budget=2) as producer:

        async def one(mail: Mail) -> None:
            await producer.send(_Message(mail))

        async def many(mails: Sequence[Mail]) -> None:
            await producer.send_many([_Message(mail) for mail in mails])

        await produce(one, many)


uvloop.run(_main())
