"""Read the environment into the database's block. Apart from the others, since only a load needs SQLAlchemy."""

from collections.abc import Mapping

from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector, SyncDriver
from pydantic import SecretStr

from blocks.environment import missing_names

ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")
SSL_MODES = ("disable", "allow", "prefer", *ENCRYPTED_MODES)
# A server that never answers, and a peer that vanished without a word, end in an error within a minute.
CONNECT_ARGS = {
    "application_name": "department-members",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def database_from(environment: Mapping[str, str], problems: list[str]) -> SqlAlchemyConnector | None:
    """The business-tracking database, as components: a URL's password would show in Prefect's UI.

    Without a password each connection signs in by IAM, which RDS allows over TLS alone.
    """
    names = [f"BUSINESS_TRACKING_{part}" for part in ("HOST", "DBNAME", "USER")]
    password = environment.get("BUSINESS_TRACKING_PASSWORD")
    missing = missing_names(environment, names, problems)
    port = environment.get("BUSINESS_TRACKING_PORT", "5432")
    # isascii, since isdigit is also true of digits such as ²
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        problems.append("BUSINESS_TRACKING_PORT must be a port number from 1 to 65535")
        missing.append("BUSINESS_TRACKING_PORT")
    sslmode = environment.get("BUSINESS_TRACKING_SSLMODE", "prefer" if password else "require")
    if sslmode not in SSL_MODES:
        problems.append(f"BUSINESS_TRACKING_SSLMODE must be one of {', '.join(SSL_MODES)}")
        missing.append("BUSINESS_TRACKING_SSLMODE")
    elif password is None and sslmode not in ENCRYPTED_MODES:
        problems.append(
            f"BUSINESS_TRACKING_PASSWORD is not set, so the connection signs in with RDS IAM, which needs TLS: set "
            f"the password, or set BUSINESS_TRACKING_SSLMODE to one of {', '.join(ENCRYPTED_MODES)}"
        )
        missing.append("BUSINESS_TRACKING_SSLMODE")
    if missing:
        return None
    host, dbname, user = (environment[name] for name in names)
    return SqlAlchemyConnector(
        connection_info=ConnectionComponents(
            driver=SyncDriver.POSTGRESQL_PSYCOPG2,
            host=host,
            port=int(port),
            database=dbname,
            username=user,
            password=SecretStr(password) if password else None,
            query={"sslmode": sslmode},
        ),
        connect_args=CONNECT_ARGS,
    )
