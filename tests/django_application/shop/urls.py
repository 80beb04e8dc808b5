"""The shop: a basket for visitors, a log-in, and an order that sends a mail when it is committed."""

import os

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from momentus_client.django import send_on_commit
from momentus_client.producers import NotEnqueued

from shop.tasks import add


def basket(request: HttpRequest) -> JsonResponse:
    """Add an item to the visitor's basket."""
    items = [*request.session.get("basket", []), request.GET["item"]]
    request.session["basket"] = items
    return JsonResponse({"basket": items})


async def async_basket(request: HttpRequest) -> JsonResponse:
    """Add an item to the visitor's basket, in an async view."""
    items = [*await request.session.aget("basket", []), request.GET["item"]]
    await request.session.aset("basket", items)
    return JsonResponse({"basket": items})


def who(request: HttpRequest) -> JsonResponse:
    """Say who is logged in."""
    return JsonResponse({"user": request.user.pk, "owner": request.session.owner, "process": os.getpid()})


@csrf_exempt
def enter(request: HttpRequest) -> JsonResponse:
    """Log in, and note what the user may read."""
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
    login(request, user)
    request.session["roots"] = [17]
    return JsonResponse({"user": user.pk})


@csrf_exempt
def change_password(request: HttpRequest) -> JsonResponse:
    """Change the password and stay logged in."""
    request.user.set_password(request.POST["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return JsonResponse({})


@csrf_exempt
def leave(request: HttpRequest) -> JsonResponse:
    """Log out."""
    logout(request)
    return JsonResponse({})


@csrf_exempt
def order(request: HttpRequest) -> JsonResponse:
    """Store an order, here a user, and confirm it by mail if it is committed."""
    name = request.POST["name"]
    message = EmailMessage("Pedido", f"Gracias, {name}", to=[f"{name}@example.com"])
    with transaction.atomic():
        User.objects.create(username=name)
        send_on_commit(message, key=f"order:{name}")
    return JsonResponse({"process": os.getpid()})


@csrf_exempt
def notify(request: HttpRequest) -> JsonResponse:
    """Send a mail that belongs to no transaction, and a task; 503 if Redis does not take them."""
    name = request.GET["name"]
    try:
        EmailMessage("Aviso", "Ya", to=[f"{name}@example.com"]).send()
        task = add.enqueue(1, 2)
    except NotEnqueued:
        return JsonResponse({"process": os.getpid()}, status=503)
    return JsonResponse({"process": os.getpid(), "task": task.id})


def process(request: HttpRequest) -> JsonResponse:
    """Say which process answers; needs no Redis."""
    del request
    return JsonResponse({"process": os.getpid()})


urlpatterns = [
    path("notify", notify),
    path("process", process),
    path("basket", basket),
    path("async-basket", async_basket),
    path("who", who),
    path("enter", enter),
    path("password", change_password),
    path("leave", leave),
    path("order", order),
]
