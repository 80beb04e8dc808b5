"""Settings of a small shop on Django, as its owner would write them; the addresses come from the test."""

import os

import django

SECRET_KEY = "of a test"
USE_TZ = True
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "shop"]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
INSTALLED_APPS.append("momentus_client.django")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

MOMENTUS = {"URL": os.environ["SHOP_REDIS"], "BUDGET": float(os.environ.get("SHOP_BUDGET", "5"))}
BACKEND = "momentus_client.django.EmailBackend"
if django.VERSION >= (6, 1):  # which warns of EMAIL_BACKEND
    MAIL = {
        "MAILERS": {"default": {"BACKEND": BACKEND}, "bulk": {"BACKEND": BACKEND, "OPTIONS": {"urgency": "bulk"}}}
    }
    MAILERS = MAIL["MAILERS"]
else:
    MAIL = {"EMAIL_BACKEND": BACKEND}
    EMAIL_BACKEND = BACKEND
DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"
TASK_BACKEND = "momentus_client.django.tasks.TaskBackend"
TASKS = {
    "default": {
        "BACKEND": TASK_BACKEND,
        "QUEUES": ["default", "reports"],
        "OPTIONS": {"lanes": {"default": {50: "urgent", -100: "tasks"}}},
    },
    "patient": {"BACKEND": TASK_BACKEND, "OPTIONS": {"tries": 3, "wait": 0.01}},
    "committed": {"BACKEND": TASK_BACKEND, "OPTIONS": {"on_commit": True}},
}
SESSION_ENGINE = "momentus_client.django.sessions"
SESSION_COOKIE_NAME = "__Host-momentus"
SESSION_COOKIE_SECURE = True
