"""The libraries of mails, loaded before the first mail instead of by it.

An import of :class:`jobs.Mail` is light, because many processes import it and send nothing. A server has time at
its start and none during a request, least of all in an event loop, where an import makes all requests wait.
"""

from datetime import UTC, datetime

from .message import Mail


def load_mail_libraries() -> None:
    """Load what the first mail of a process would load: email-validator, Jinja2 and parts of the standard library.

    Takes about a tenth of a second, and nothing when it is called again. The modules for FastAPI, Flask and Django
    call it when the application starts; other servers call it themselves.

    Example:
        >>> load_mail_libraries()
    """
    values = {"task": "Cierre", "due": "hoy"}
    sample = Mail(to="ana@example.com", template="task_assigned", values=values)
    sample.compose(job_id="sample", now=datetime.now(UTC))
