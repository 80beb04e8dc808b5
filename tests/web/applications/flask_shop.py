"""A small Flask application: logs users in, shows them who they are, and queues a mail."""

import os
from typing import Any

from flask import Flask, Response, request
from momentus_client.flask import (
    Momentus,
    current_session,
    current_visit,
    login_required,
    require_session,
    session_required,
)
from momentus_client.jobs import Mail

momentus = Momentus(budget=5, trusted_origins=["https://app.example.com"])


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["MOMENTUS_REDIS_URL"] = os.environ.get("SHOP_REDIS", "redis://127.0.0.1:1/0")
    momentus.init_app(app)
    app.extensions["momentus"].insecure_cookie = os.environ.get("SHOP_HTTP") == "1"
    add_views(app)
    return app


def add_views(app: Flask) -> None:
    @app.post("/login")
    def log_in() -> str:
        root = request.args.get("root", 0, int)
        data = {"roots": [root] if root else []}
        return current_visit().log_in(request.args["user"], data, label="test").user

    @app.post("/logout")
    def log_out() -> str:
        current_visit().log_out()
        return ""

    @app.get("/visitor")
    def visitor() -> str:
        session = current_session()
        return session.user if session else "nobody"

    @app.get("/me")
    @login_required
    def me() -> str:
        return require_session().user

    @app.get("/async")
    @login_required
    async def later() -> str:
        return require_session().user

    @app.get("/management")
    @session_required(lambda session: bool(session.data.get("roots")), "managers only")
    def management() -> str:
        return require_session().user

    @app.get("/devices")
    @login_required
    def devices() -> list[str]:
        return [one.label for one in momentus.sessions.sessions_of(require_session().user)]

    @app.post("/tasks/<int:task>/assign")
    @login_required
    def assign(task: int) -> dict[str, Any]:
        mail = Mail(to="ana@example.com", subject=f"Tarea {task}", text=f"Asignada por {require_session().user}")
        receipt = momentus.producer.send(mail, key=f"task:{task}:assigned")
        return {"id": receipt.id, "state": receipt.state, "pid": os.getpid()}

    @app.get("/cached")
    def cached() -> Response:
        current_session()
        return Response("x", headers={"Cache-Control": "public, max-age=60"})
