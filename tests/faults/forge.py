"""The forge: starts dealsync's own commands as processes, quickly; run as `python -m tests.faults.forge`.

It imports everything once and forks for each order, a line of JSON on stdin: `{"argv", "environ", "log"}`. A child is a
process like any other, in a group of its own, that runs the command's own entry point. The answer on stdout is its pid.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

PRELOADED = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "edge.asgi",
    "edge.cli.main",
    "kombu.transport.redis",
    "ledger.service",
    "pipeline.ledger_tools",
    "pipeline.mapping_files",
    "pipeline.tasks",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)


def run(argv: list[str]) -> None:
    """The command as its own script runs it."""
    sys.argv = argv
    if argv[0] == "celery":
        from celery.__main__ import main
    else:
        from edge.cli.main import main
    sys.exit(main())


def become(order: dict[str, Any]) -> None:
    """Turn this child into the command; nothing of the forge's is left but its imports."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order["environ"])
    code: object = 1
    try:
        run(order["argv"])
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def main() -> None:
    """Fork for each order until stdin ends; then nobody is left."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    print(os.getpid(), flush=True)
    children = []
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
        os.setpgid(child, child)  # before anybody hears of it, so that nobody signals a group that is not there yet
        children.append(child)
        print(child, flush=True)
    for child in children:  # whoever gave the orders is gone, perhaps without a word
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
