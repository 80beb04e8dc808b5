"""The application ``momentus_client.django`` of INSTALLED_APPS: loads at the start what the first request needs.

It has no models. Without it each process's first call spends tenths of a second loading the libraries.
"""

from django.apps import AppConfig
from momentus_client.django.connections import async_sessions, producer, sessions
from momentus_client.jobs import load_mail_libraries


class MomentusConfig(AppConfig):
    """Prepares mails and connections when Django starts, before a server forks.

    Example:
        INSTALLED_APPS = [..., "momentus_client.django"]
    """

    name = "momentus_client.django"
    label = "momentus"
    verbose_name = "Momentus Jobs"

    def ready(self) -> None:
        """Load the libraries of mails and of the connections. Raises ImproperlyConfigured."""
        load_mail_libraries()
        producer()
        sessions()
        async_sessions()
