"""Published limits of mail providers: the defaults of an account, all of which can be overridden.

A number is here only if the provider publishes it; where it depends on the customer (Amazon SES outside its
sandbox) there is no number, and the worker learns from the replies. Limits in recipients are limits in mails here,
since every mail has one recipient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Tls = Literal["required", "implicit", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The published limits of one provider.

    Attributes:
        host: "" where the account must name it.
        login: True if the provider accepts mail only after a login.
        username: the user name that all customers share; "" where each has their own.
        per_second, per_minute, per_day: mails; 0 for no published limit. The day is a rolling one.
        connections: at the same time, by all workers together; 0 for no published limit.
        messages: mails per connection; 0 for the worker's own setting.
        idempotency_header: a header by which the provider drops a second copy of a mail.
    """

    name: str
    host: str = ""
    port: int = 587
    tls: Tls = "required"
    login: bool = True
    username: str = ""
    per_second: int = 0
    per_minute: int = 0
    per_day: int = 0
    connections: int = 0
    messages: int = 0
    idempotency_header: str = ""


PRESETS: Mapping[str, Preset] = {
    one.name: one
    for one in (
        # A server of your own, or a provider that is not listed: its limits are unknown.
        Preset(name="generic", port=25, login=False),
        # An Exim of your own. From the 11th mail of a connection on it leaves mails to its queue run, 30 min apart
        # on Debian: smtp_accept_queue_per_connection, "Main configuration" of its specification. Read in 2026-11.
        Preset(name="exim", port=25, login=False, messages=10),
        # Google, "Gmail sending limits" for personal accounts: 500 a day, rolling. An app password or XOAUTH2.
        # Read in 2026-11 at support.google.com/mail/answer/22839
        Preset(name="gmail", host="smtp.gmail.com", per_day=500),
        # Google, "Gmail sending limits in Google Workspace": 2,000 mails a day, rolling (500 on trial).
        # Read in 2026-11 at support.google.com/a/answer/166852
        Preset(name="google-workspace", host="smtp.gmail.com", per_day=2000),
        # Google, "SMTP relay service": 10,000 mails for each user and day; the customer's own limits vary.
        # Read in 2026-11 at support.google.com/a/answer/2956491
        Preset(name="google-relay", host="smtp-relay.gmail.com", per_day=10_000),
        # Microsoft, "Exchange Online limits" (30 messages a minute, 10,000 recipients a day, rolling) and "Message
        # storage and concurrent connection throttling for SMTP Authenticated Submission" (three connections).
        # Read in 2026-11 at learn.microsoft.com. Passwords are off by default from January 2027 on: XOAUTH2.
        Preset(name="microsoft365", host="smtp.office365.com", per_minute=30, per_day=10_000, connections=3),
        # Amazon, "Service quotas in Amazon SES": varies with the customer; throttled above 10 MB.
        # Read in 2026-11 at docs.aws.amazon.com/ses/latest/dg/quotas.html
        Preset(name="ses"),
        # The same page: the sandbox, in which every customer starts.
        Preset(name="ses-sandbox", per_second=1, per_day=200),
        # Twilio, "Integrating with the SMTP API": 5,000 mails for each connection, 10,000 connections.
        # Read in 2026-11 at twilio.com/docs/sendgrid
        Preset(name="sendgrid", host="smtp.sendgrid.net", username="apikey", messages=5000),
        # Resend, "Send emails with SMTP" and "Idempotency Keys": remembered for 24 hours.
        # Read in 2026-11 at resend.com/docs
        Preset(
            name="resend",
            host="smtp.resend.com",
            username="resend",
            idempotency_header="Resend-Idempotency-Key",
        ),
    )
}
