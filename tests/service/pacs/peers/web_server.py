"""A real DICOMweb server on a free port that answers what a test says, and the bodies of its answers.

serving(answer) -> the client of it, and the requests that came
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from service.pacs.configuration import Peer
from service.pacs.peers.dicomweb import WebPeer

JSON = {"Content-Type": "application/dicom+json"}
MULTIPART = 'multipart/related; type="application/dicom"; boundary=xyz'
PATIENCE = 20.0
SHORT = 1.0
STUDY, SERIES = "1.2.3", "1.2.3.4"


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the test, which answers or does something else with the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        request = SimpleNamespace(
            method=self.command,
            path=parts.path,
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers=self.headers,
            body=self.rfile.read(length),
        )
        self.server.requests.append(request)
        answer = self.server.answer(request)
        if callable(answer):
            answer(self)
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - as http.server names it

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_):
        """Peers that hang up in the middle are what is tested."""


@contextmanager
def serving(answer, *, tls=None, **changes):
    """A peer whose server gives `answer(request)`: (status, headers, body), or a function of the connection."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests, server.answer = [], answer
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            url = f"{scheme}://127.0.0.1:{server.server_address[1]}/dicom-web/"
            yield WebPeer("pacs", Peer(**{"url": url, "timeout_seconds": PATIENCE, **changes})), server.requests
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def always(status, headers=None, body=b""):
    return lambda _: (status, headers or {}, body)


def parts_of(request):
    """The bodies of a multipart request, by hand."""
    boundary = re.search("boundary=(\\S+)", request.headers["Content-Type"])[1].encode()
    first, *parts, last = request.body.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, body = part.partition(b"\r\n\r\n")
        assert head == b"\r\nContent-Type: application/dicom"
        assert body.endswith(b"\r\n")
        found.append(body[:-2])
    return found


def stored(taken=(), failed=(), warned=()):
    """The answer of STOW-RS; failed and warned: (SOPInstanceUID, code)."""

    def item(uid, tag=None, code=None):
        made = {"00081155": {"vr": "UI", "Value": [uid]}, "00081150": {"vr": "UI", "Value": ["1.2"]}}
        return made if tag is None else {**made, tag: {"vr": "US", "Value": [code]}}

    found = {}
    if taken or warned:
        items = [item(uid) for uid in taken] + [item(uid, "00081196", code) for uid, code in warned]
        found["00081199"] = {"vr": "SQ", "Value": items}
    if failed:
        found["00081198"] = {"vr": "SQ", "Value": [item(uid, "00081197", code) for uid, code in failed]}
    return json.dumps(found).encode()


def listed(*uids, tag="00080018"):
    return json.dumps([{tag: {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()


def multipart(*bodies, end=b"--xyz--"):
    head = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(head + body + b"\r\n" for body in bodies) + end


def server_tls(certificates, *, mutual=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
    return context


def chunked(*chunks, end=b"0\r\n\r\n", headers=b"Content-Type: application/dicom+json\r\n"):
    def write(connection):
        connection.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + headers + b"\r\n")
        for chunk in chunks:
            connection.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        connection.wfile.write(end)

    return write


def archive_of(uids, *, limit=None, offset=True):
    """An archive that has at most `limit` rows in an answer, and perhaps ignores the offset."""

    def answer(request):
        begin = int(request.query["offset"]) if offset else 0
        most = min(limit or len(uids), int(request.query["limit"]))
        return 200, JSON, listed(*uids[begin : begin + most])

    return answer


def archive_with(files):
    """An archive that has files, by SOPInstanceUID; each is what WADO-RS answers."""

    def answer(request):
        if request.path.endswith("/instances"):
            return archive_of(sorted(files))(request)
        found = files[request.path.rpartition("/")[2]]
        return found if callable(found) else (200, {"Content-Type": MULTIPART}, found)

    return answer


def reply(connection, kind, body):
    connection.send_response(200)
    connection.send_header("Content-Type", kind)
    connection.send_header("Content-Length", str(len(body)))
    connection.end_headers()
    connection.wfile.write(body)
