"""A scripted upstream on 127.0.0.1: a handler per connection, and a record of what it saw."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Link:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the handler has ended

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request. Raises IncompleteReadError at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length: "):
                length = int(line[16:])
        return head, await self.reader.readexactly(length)

    async def gone(self) -> bool:
        """For handlers: waits until the client has closed."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Link], Awaitable[None]]


@dataclass
class Upstream:
    port: int
    links: list[Link] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}/v1"


@asynccontextmanager
async def serving(
    handler: Handler, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    upstream = Upstream(0)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer, len(upstream.links))
        upstream.links.append(link)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(link)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            link.over.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in upstream.links:
            try:
                await link.writer.wait_closed()
            except (ConnectionError, ssl.SSLError, TimeoutError):
                pass


def answering(upstream_of: Callable[[], Upstream], answer: bytes = ANSWER) -> Handler:
    """Keeps the connection and gives the same answer to every request."""

    async def handler(link: Link) -> None:
        upstream = upstream_of()
        while True:
            head, body = await link.request()
            upstream.heads.append(head)
            upstream.bodies.append(body)
            link.writer.write(answer)
            await link.writer.drain()

    return handler


@asynccontextmanager
async def steady(
    answer: bytes = ANSWER, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    holder: list[Upstream] = []
    async with serving(answering(lambda: holder[0], answer), tls=tls) as upstream:
        holder.append(upstream)
        yield upstream


def tunnelling(heads: list[bytes], ports: dict[str, int]) -> Handler:
    """A CONNECT proxy; ``ports`` stands in for the DNS."""

    async def handler(link: Link) -> None:
        head = await link.reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        name = head.split(b" ")[1].split(b":")[0].decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[name])
        link.writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        try:
            await asyncio.gather(pump(link.reader, writer), pump(reader, link.writer))
        finally:
            writer.close()

    return handler


@dataclass
class Authority:
    """A CA made for one test run, and server contexts signed by it."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.certificate = self._sign(self.name, self.key, is_ca=True, hosts=())
        self.ca_file = self.folder / "ca.pem"
        self.ca_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def server(self, *hosts: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._sign(subject, key, is_ca=False, hosts=hosts)
        path = self.folder / f"server-{'-'.join(hosts)}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_ca: bool,
        hosts: tuple[str, ...],
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        if hosts:
            names = [x509.DNSName(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())
