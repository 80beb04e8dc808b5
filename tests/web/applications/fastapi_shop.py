"""A small FastAPI application: logs users in, shows them who they are, and queues a mail."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from momentus_client.fastapi import (
    CurrentVisit,
    JobProducer,
    LoggedIn,
    MaybeLoggedIn,
    Momentus,
    SessionStore,
    session_that,
)
from momentus_client.jobs import Mail
from momentus_client.sessions import Session

momentus = Momentus.connect(
    os.environ.get("SHOP_REDIS", "redis://127.0.0.1:1/0"),
    budget=5,
    deadline=timedelta(seconds=5),
    insecure_cookie=os.environ.get("SHOP_HTTP") == "1",
    trusted_origins=["https://app.example.com"],
)
events: list[str] = []
Manager = Annotated[
    Session, Depends(session_that(lambda session: bool(session.data.get("roots")), "managers only"))
]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with momentus.lifespan(app):
        events.append("begin")
        yield
        events.append("end")


@asynccontextmanager
async def routers_lifespan(_: object) -> AsyncIterator[None]:
    events.append("router begins")
    yield


router = APIRouter(lifespan=routers_lifespan)
app = FastAPI(lifespan=lifespan)
admin = FastAPI()
bare = FastAPI()


@app.post("/login")
async def log_in(user: str, visit: CurrentVisit, root: int = 0) -> str:
    session = await visit.log_in(user, {"roots": [root] if root else []}, label="test")
    return session.user


@app.post("/logout")
async def log_out(visit: CurrentVisit) -> None:
    await visit.log_out()


@app.get("/visitor")
async def visitor(session: MaybeLoggedIn) -> str:
    return session.user if session else "nobody"


@app.get("/me")
async def me(session: LoggedIn) -> str:
    return session.user


@router.get("/management")
async def management(session: Manager) -> str:
    return session.user


@app.get("/devices")
async def devices(session: LoggedIn, store: SessionStore) -> list[str]:
    return [one.label for one in await store.sessions_of(session.user)]


@app.post("/tasks/{task}/assign")
async def assign(task: int, producer: JobProducer, session: LoggedIn) -> dict[str, int | str]:
    mail = Mail(to="ana@example.com", subject=f"Tarea {task}", text=f"Asignada por {session.user}")
    receipt = await producer.send(mail, key=f"task:{task}:assigned")
    return {"id": receipt.id, "state": receipt.state, "pid": os.getpid()}


@app.websocket("/ws")
async def socket(websocket: WebSocket, session: MaybeLoggedIn) -> None:
    await websocket.accept()
    await websocket.send_text(session.user if session else "nobody")
    await websocket.close()


@admin.get("/me")
async def admin_me(session: LoggedIn) -> str:
    return f"admin {session.user}"


@bare.get("/me")
async def bare_me(session: LoggedIn) -> str:
    return session.user


app.include_router(router)
app.mount("/admin", admin)
momentus.install(app)
