"""Delivery status reports (RFC 3464) as mail servers write them, for tests."""

from typing import Literal

Original = Literal["headers", "whole", "references", "none"]

_REPORT = """\
Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example.com>
To: no-reply@momentus.example
Subject: Undelivered Mail Returned to Sender
Date: Mon, 23 Nov 2026 03:30:00 +0000
Auto-Submitted: auto-replied
MIME-Version: 1.0{references}
Content-Type: multipart/report; report-type=delivery-status; boundary="part"

--part
Content-Type: text/plain

I could not deliver your message.

--part
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Arrival-Date: Mon, 23 Nov 2026 03:25:17 +0000

{original_recipient}Final-Recipient: rfc822; {final}
Action: {action}
Status: {status}
{diagnostic}
{original}--part--
"""
_ORIGINALS: dict[Original, str] = {
    "headers": "--part\nContent-Type: text/rfc822-headers\n\nTo: {to}\nMessage-ID: <{id}@m.example>\n\n",
    "whole": "--part\nContent-Type: message/rfc822\n\nTo: {to}\nMessage-ID: <{id}@m.example>\n\n{filling}\n",
    "references": "",
    "none": "",
}


def bounce(
    message_id: str,
    recipient: str,
    *,
    final: str = "",
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 no such user",
    original: Original = "headers",
    filling: bytes = b"",
) -> bytes:
    """The octets of a report about one mail to one recipient.

    Args:
        final: where the mail ended up, if it was forwarded.
        diagnostic: the last server's words; empty for none.
        original: how the report tells which mail it is about.
    """
    returned = _ORIGINALS[original].format(to=recipient, id=message_id, filling=filling.decode())
    text = _REPORT.format(
        references=f"\nReferences: <{message_id}@m.example>" if original == "references" else "",
        original_recipient=f"Original-Recipient: rfc822; {recipient}\n" if final else "",
        final=final or recipient,
        action=action,
        status=status,
        diagnostic=f"Diagnostic-Code: {diagnostic}\n" if diagnostic else "",
        original=returned,
    )
    return text.replace("\n", "\r\n").encode()


_OPENSMTPD = """\
Subject: Delivery status notification: error
From: Mailer Daemon <MAILER-DAEMON@mx.example.com>
To: no-reply@momentus.example
Date: Mon, 23 Nov 2026 03:30:00 +0000 (UTC)
MIME-Version: 1.0
Content-Type: multipart/mixed;boundary="1234567890123456/mx.example.com"

This is a MIME-encapsulated message.

--1234567890123456/mx.example.com
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

{to}: {reply}

    Below is a copy of the original message:

--1234567890123456/mx.example.com
Content-Description: Delivery Report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.0.0

--1234567890123456/mx.example.com
Content-Description: Message headers
Content-Type: text/rfc822-headers

To: {to}
Message-ID: <{id}@m.example>

--1234567890123456/mx.example.com--
"""


def opensmtpd_bounce(message_id: str, recipient: str, *, reply: str) -> bytes:
    """The octets of a report of OpenSMTPD 6.8: multipart/mixed, always 5.0.0, the reply in the text alone."""
    return _OPENSMTPD.format(to=recipient, id=message_id, reply=reply).replace("\n", "\r\n").encode()
