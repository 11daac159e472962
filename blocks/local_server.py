"""The Prefect server that a command starts for itself where none is set."""

from typing import Any

from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS

# Its telemetry locks the new database and logs a traceback; making that database takes longer than the default of
# 20 s on a busy machine.
LOCAL_SERVER: dict[Any, Any] = {
    PREFECT_SERVER_ANALYTICS_ENABLED: False,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120,
}
