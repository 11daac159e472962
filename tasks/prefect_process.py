"""The process of a local Prefect server: `python -P prefect_process.py DESCRIPTOR`; see `tasks.local_server`."""

import os
import signal
import socket
import sys
import threading


def end_with_parent() -> None:
    """Wait until the other end of stdin closes, since the script ended or was killed; then shut down cleanly."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve on the listening socket with that descriptor; connections wait there until the server has started."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        import prefect.context  # noqa: F401 - reads the settings
    except Exception:
        sys.exit(1)  # the script fails too, and says why; a traceback here would show the wrong setting's value
    import uvicorn

    app = "prefect.server.api.server:create_app"
    uvicorn.Server(uvicorn.Config(app, factory=True, log_level="error", lifespan="on")).run(
        sockets=[socket.socket(fileno=int(sys.argv[1]))]
    )


if __name__ == "__main__":
    main()
