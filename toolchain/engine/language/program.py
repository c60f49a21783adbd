"""What the program's process executes: the entry point inside a Pulumi stack.

Run by path in the program's own virtual environment, so it imports Pulumi's SDK and nothing of
ours. Argument: a file descriptor. Through it come the length (4 bytes, big endian) and the bytes
of a RunRequest with the engine's address in `args`; when the host is gone it ends, and so do we.
"""

import asyncio
import os
import runpy
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pulumi
from pulumi.runtime import config, stack
from pulumi.runtime.proto import language_pb2
from pulumi.runtime.settings import Settings, configure

# The host then knows that the engine has the message already.
REPORTED = 32
MOST_THREADS = 256


def main(fd: int) -> int:
    """Return the process's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(1))
    request = _receive(fd)
    threading.Thread(target=_end_with_host, args=(fd,), daemon=True).start()
    _configure(request)
    directory = Path(request.info.program_directory or request.pwd)
    entry = directory / (request.info.entry_point or request.program)
    sys.path[0] = str(entry if entry.is_dir() else entry.parent)
    sys.argv = [str(entry), *request.args[1:]]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(min(MOST_THREADS, max(4, 4 * request.parallel))))
    return _run(loop, entry)


def _run(loop: asyncio.AbstractEventLoop, entry: Path) -> int:
    try:
        loop.run_until_complete(stack.run_in_stack(lambda: _execute(entry)))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return REPORTED
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            pulumi.log.error(exit_.code)
            return REPORTED
        return exit_.code or 0
    except Exception as error:  # noqa: BLE001 -- the boundary of the process: told to the engine
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_readable(error)}")
        return REPORTED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _execute(entry: Path) -> None:
    runpy.run_path(str(entry), run_name="__main__")


def _receive(fd: int) -> language_pb2.RunRequest:
    size = int.from_bytes(_exactly(fd, 4))
    return language_pb2.RunRequest.FromString(_exactly(fd, size))


def _exactly(fd: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(fd, size - len(parts))
        if not part:
            sys.exit("the language host ended before it had handed over the program's request")
        parts += part
    return bytes(parts)


def _end_with_host(fd: int) -> None:
    os.read(fd, 1)
    os.killpg(0, signal.SIGKILL)


def _configure(request: language_pb2.RunRequest) -> None:
    config.set_all_config(dict(request.config), list(request.configSecretKeys))
    configure(
        Settings(
            project=request.project,
            stack=request.stack,
            monitor=request.monitor_address,
            engine=request.args[0],
            parallel=request.parallel,
            dry_run=request.dryRun,
            organization=request.organization,
            root_directory=request.info.root_directory,
        )
    )


def _readable(error: Exception) -> str:
    """The traceback from the program's first own line on."""
    frames: TracebackType | None = error.__traceback__
    own = frames
    while own is not None and not _of_program(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    return "".join(traceback.format_exception(type(error), error, own or frames)).rstrip()


def _of_program(filename: str) -> bool:
    internal = (
        str(Path(__file__).resolve()),
        "<frozen runpy>",
        str(Path(pulumi.__file__).parent),
        asyncio.__path__[0],
    )
    return not filename.startswith(internal)


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the program must not keep a finished update waiting.
    os._exit(code if isinstance(code, int) else 1)
