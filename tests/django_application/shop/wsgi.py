"""The shop for a WSGI server. With SHOP_PRELOADED the process that loads it sends a mail, before any fork."""

import os

from django.core.mail import send_mail
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
if os.environ.get("SHOP_PRELOADED"):
    send_mail("Hola", "Antes de los procesos", None, ["preloaded@example.com"])
