"""TLS in front of the embedded PostgreSQL, whose build has none, so that sslmode up to verify-full can be tried."""

import shutil
import socket
import socketserver
import ssl
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # what a client that wants TLS sends first


class TlsFront:
    """Takes TLS as PostgreSQL does and passes the session on to a server without; a plain client passes as it is.

    Args:
        port: where the server listens, on 127.0.0.1.
        direct: every client begins with TLS, as for HTTPS.

    Attributes:
        port: where to connect instead, by the name localhost.
        root_certificate: what a client must trust.
    """

    def __init__(self, port: int, *, direct: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sandbox-tls-"))
        self.root_certificate = self._folder / "root.crt"
        write_certificate(self._folder, self.root_certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.crt", self._folder / "server.key")

        class Session(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
                    client = self.request
                    first = b"" if direct else client.recv(8)
                    if direct:
                        client = context.wrap_socket(client, server_side=True)
                    elif first == SSL_REQUEST:
                        client.sendall(b"S")  # as PostgreSQL says yes, before the handshake
                        client = context.wrap_socket(client, server_side=True)
                    else:
                        server.sendall(first)
                    answers = threading.Thread(target=pass_on, args=(server, client), daemon=True)
                    answers.start()
                    pass_on(client, server)
                    answers.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes, until either end closes."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def write_certificate(folder: Path, root: Path) -> None:
    """Write server.key and server.crt, for localhost only, to `folder`, and the certificate to trust to `root`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(secret)
    (folder / "server.key").chmod(0o600)
    (folder / "server.crt").write_bytes(pem)
    root.write_bytes(pem)
