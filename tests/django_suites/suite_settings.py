"""Settings under which Django's own tests run against our backends."""

import os

SECRET_KEY = "of a test"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "sessions_tests",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MOMENTUS = {"URL": os.environ["SHOP_REDIS"], "BUDGET": 5}
