"""Typed commands to a running job: JSON bytes over a local socket that asks for the job's key.

    {"command": "stop"} → {"ok": true}        {"command": "ping"} → {"ok": true, "pid": 4711}

`multiprocessing.connection` gives the socket (a Unix socket, or a named pipe on Windows) and the handshake; only
`send_bytes` and `recv_bytes` are used, so nothing that comes in is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any

from understudy.errors import InvalidOption, JobError, UnderstudyError, UsageError
from understudy.jobs.folder import Job

MESSAGE_BYTES = 65536
ANSWER_SECS = 5.0

_REFUSALS: Mapping[str, type[UnderstudyError]] = {"invalid-option": InvalidOption, "usage-error": UsageError}

Handler = Callable[[dict[str, Any]], dict[str, Any]]
"""Carries out one command; its answer's fields go beside "ok"."""


@contextlib.contextmanager
def serving(key: bytes, handlers: Mapping[str, Handler]) -> Iterator[str]:
    """Answer commands on threads of their own for as long as the block runs; gives the address."""
    with Listener(None) as listener:
        threading.Thread(target=_serve, args=(listener, key, handlers), daemon=True, name="job-commands").start()
        yield str(listener.address)


def send(job: Job, command: str, **fields: Any) -> dict[str, Any]:
    """Send one command and return the answer's fields.

    Raises JobError when the job does not listen (any more), is another user's, or refuses the command; InvalidOption or
    UsageError where it is what was asked that is wrong.
    """
    body = json.dumps({"command": command, **fields}).encode()
    if len(body) > MESSAGE_BYTES:
        raise UsageError("That is too long for a command.", hint=f"It may have {MESSAGE_BYTES:,} bytes.")
    address = job.address
    if address is None:
        raise JobError("The job does not listen for commands yet.", hint="Try again in a moment.", job=job.id)
    try:
        key = job.key
        with Client(address) as connection:
            _await(connection, job)
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            connection.send_bytes(body)
            _await(connection, job)
            answer = json.loads(connection.recv_bytes(MESSAGE_BYTES))
    except PermissionError as error:
        raise not_yours(job) from error
    except (OSError, EOFError, AuthenticationError) as error:
        raise JobError(
            "The job does not listen for commands any more.",
            hint="See how it ended with: understudy status",
            job=job.id,
        ) from error
    if not answer.get("ok"):
        refusal = _REFUSALS.get(str(answer.get("code")), JobError)
        raise refusal(str(answer.get("message", "The job refused.")), hint=str(answer.get("hint", "")), job=job.id)
    return {name: value for name, value in answer.items() if name != "ok"}


def not_yours(job: Job) -> JobError:
    """The error of a job that another user has started."""
    return JobError(
        "The job is another user's, who alone can tell it what to do.",
        hint="Ask that user, or see how far it is with: understudy status",
        job=job.id,
    )


def _await(connection: Connection, job: Job) -> None:
    """Wait until the job says something. Raises JobError when it does not: it is stopped, or its machine is."""
    if not connection.poll(ANSWER_SECS):
        raise JobError(f"The job did not answer within {ANSWER_SECS:.0f} s.", hint="Try again.", job=job.id)


def _serve(listener: Listener, key: bytes, handlers: Mapping[str, Handler]) -> None:
    while True:
        try:
            connection = listener.accept()
        except ConnectionError:
            continue  # one who left at once
        except OSError:
            return  # the listener was closed
        # A thread for each: one who connects and says nothing keeps nobody else waiting.
        threading.Thread(target=_hear, args=(connection, key, handlers), daemon=True, name="job-command").start()


def _hear(connection: Connection, key: bytes, handlers: Mapping[str, Handler]) -> None:
    """Answer one command of whoever knows the key, and as the key's owner: both prove it."""
    with connection, contextlib.suppress(OSError, EOFError, AuthenticationError):
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        _answer(connection, handlers)


def _answer(connection: Connection, handlers: Mapping[str, Handler]) -> None:
    if not connection.poll(ANSWER_SECS):
        return
    try:
        message = json.loads(connection.recv_bytes(MESSAGE_BYTES))
        command = message["command"]
    except (ValueError, TypeError, KeyError):
        answer: dict[str, Any] = {"ok": False, "message": "A command is a JSON object with a field named command."}
    else:
        handler = handlers.get(command) if isinstance(command, str) else None
        answer = _handled(handler, message) if handler else _unknown(command, handlers)
    connection.send_bytes(json.dumps(answer).encode())


def _handled(handler: Handler, message: dict[str, Any]) -> dict[str, Any]:
    """What a handler answers, or its refusal. A fault of it is told to who asked: the next one is to be heard too."""
    try:
        return {"ok": True, **handler(message)}
    except UnderstudyError as error:
        return {"ok": False, **error.as_json()}
    except Exception as error:
        traceback.print_exc()
        return {"ok": False, "message": f"The job could not do that: {error}", "hint": "Its log holds the traceback."}


def _unknown(command: Any, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    return {
        "ok": False,
        "message": f"This job knows no command {command!r}.",
        "hint": f"It knows: {', '.join(list(handlers))}.",  # at once: they may be others while it starts
    }
