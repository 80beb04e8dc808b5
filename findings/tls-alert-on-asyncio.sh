#!/bin/sh
# A TLS server on asyncio or uvloop ends a failed handshake without the alert that says why.
#
# Public: asyncio of CPython 3.11.7 and uvloop 0.23.0, with OpenSSL 3, on Linux.
# Input:  a client that speaks TLS 1.2 at most meets a server that speaks 1.3 alone; both valid.
# Seen:   a server on blocking sockets (`SSLContext.wrap_socket`) sends the alert protocol_version, and the client
#         is told TLSV1_ALERT_PROTOCOL_VERSION. The same context under `asyncio.start_server(ssl=...)` closes the
#         connection with the alert still in its memory BIO: the client is told UNEXPECTED_EOF_WHILE_READING.
#         uvloop does the same.
# Means:  a client cannot tell "too old" from "broken off", whatever it does, and a test of such a server needs
#         blocking sockets.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
./venv/bin/pip install --quiet uvloop==0.23.0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat > ask.py <<'PYTHON'
import asyncio
import logging
import socket
import ssl
import sys
import threading

import uvloop

logging.disable()


def server_side():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def ask(port):
    context = ssl.create_default_context(cafile="cert.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            with context.wrap_socket(plain, server_hostname="localhost"):
                return "agreed"
    except ssl.SSLError as error:
        return error.reason


def blocking():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            try:
                server_side().wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        answer = ask(listening.getsockname()[1])
        thread.join()
        return answer


async def looped():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=server_side())
    answer = await asyncio.to_thread(ask, server.sockets[0].getsockname()[1])
    server.close()
    return answer


seen = {"blocking": blocking(), "asyncio": asyncio.run(looped()), "uvloop": uvloop.run(looped())}
print(sys.version.split()[0], ssl.OPENSSL_VERSION, seen)
alert, none = "TLSV1_ALERT_PROTOCOL_VERSION", "UNEXPECTED_EOF_WHILE_READING"
sys.exit(seen != {"blocking": alert, "asyncio": none, "uvloop": none})
PYTHON
./venv/bin/python ask.py
