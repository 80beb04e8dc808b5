"""aiosmtplib with kept connections, used as its documentation says: PORT CONNECTIONS COUNT bytes|message.

    bytes    the octets are ready, the same for all: `sendmail`
    message  an EmailMessage is built for each: `send_message`

Prints the seconds from the first mail to the last reply.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY

import uvloop
from aiosmtplib import SMTP

from bench.mail_peers.content import SENDER, html, recipient, subject, text


def build(number: int) -> EmailMessage:
    """As the standard library's documentation does it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, recipient(number), subject(number)
    message.set_content(text(number))
    message.add_alternative(html(number), subtype="html")
    return message


async def send(port: int, connections: int, count: int, *, ready: bool) -> float:
    """The seconds it took."""
    numbers = iter(range(count))
    octets = build(0).as_bytes(policy=SMTP_POLICY)
    began = time.perf_counter()
    await asyncio.gather(*[one(port, numbers, octets if ready else b"") for _ in range(connections)])
    return time.perf_counter() - began


async def one(port: int, numbers: Iterator[int], octets: bytes) -> None:
    """One connection, as long as there are mails."""
    smtp = SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False, local_hostname="bench")
    await smtp.connect()
    for number in numbers:
        if octets:
            await smtp.sendmail(SENDER, [recipient(number)], octets)
        else:
            await smtp.send_message(build(number))
    await smtp.quit()


if __name__ == "__main__":
    port, connections, count = map(int, sys.argv[1:4])
    print(uvloop.run(send(port, connections, count, ready=sys.argv[4] == "bytes")))
