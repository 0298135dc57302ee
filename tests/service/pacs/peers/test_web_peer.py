"""DICOMweb peers: who we are to them, whom we trust, and what their statuses mean."""

from __future__ import annotations

import base64
from email.utils import formatdate

import pytest

from service.pacs.parts import Tls
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.dicomweb import WebPeer


def test_echo_asks_for_one_study(web):
    with web.serving(web.always(200, web.JSON, b"[]")) as (peer, requests):
        peer.echo()
    (asked,) = requests
    assert (asked.method, asked.path, asked.query) == ("GET", "/dicom-web/studies", {"limit": "1"})
    assert asked.headers["Accept"] == "application/dicom+json"
    assert asked.headers["Accept-Encoding"] == "identity"


def test_echo_of_an_empty_archive(web):
    with web.serving(web.always(204)) as (peer, _):
        peer.echo()


def test_echo_of_some_other_website(web):
    with (
        web.serving(web.always(200, {"Content-Type": "text/html"}, b"<html>")) as (peer, _),
        pytest.raises(PeerRefused, match="check the url"),
    ):
        peer.echo()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "answers 400: it does not understand the request"),
        (401, "answers 401: check the credentials"),
        (403, "answers 403: these credentials may not do this"),
        (404, "answers 404: check the url"),
        (406, "answers 406: it cannot answer in a form that we read"),
        (413, "answers 413: this is larger than it takes"),
        (415, "answers 415: it does not take DICOM instances in this form"),
        (418, "answers 418: it does not do this"),
        (408, "answers 408"),
        (429, "answers 429"),
        (500, "answers 500"),
        (503, "answers 503"),
    ],
)
def test_every_status(web, slices, told, status, text):
    with web.serving(web.always(status, {}, b"secret of the peer")) as (peer, _):
        for ask in (peer.echo, lambda: peer.send(slices(1), told), lambda: peer.instances(web.STUDY, web.SERIES)):
            with pytest.raises(PeerRefused if ":" in text else PeerUnavailable) as raised:
                ask()
            assert str(raised.value).startswith(f"peer 'pacs' {text}")
            assert "secret" not in str(raised.value)
    assert not told


@pytest.mark.parametrize(
    ("stated", "least", "most"),
    [
        ("120", 120, 120),
        ("999999999999", 86400, 86400),
        (formatdate(4e9, usegmt=True), 86400, 86400),
        (formatdate(1e9, usegmt=True), 0, 0),
    ],
)
def test_when_it_wants_to_be_asked_again(web, stated, least, most):
    with web.serving(web.always(503, {"Retry-After": stated})) as (peer, _), pytest.raises(PeerUnavailable) as raised:
        peer.echo()
    assert least <= raised.value.retry_after <= most


@pytest.mark.parametrize("stated", ["soon", "-5", "1e400", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_nonsense_about_when_it_wants_to_be_asked_again(web, stated):
    with web.serving(web.always(503, {"Retry-After": stated})) as (peer, _), pytest.raises(PeerUnavailable) as raised:
        peer.echo()
    assert raised.value.retry_after is None


def test_basic_authentication(web, tmp_path):
    (tmp_path / "password").write_text("pässword\n", encoding="utf-8")
    with web.serving(web.always(204), username="svc", password_file=tmp_path / "password") as (peer, requests):
        peer.echo()
    assert requests[0].headers["Authorization"] == "Basic " + base64.b64encode("svc:pässword".encode()).decode()


def test_a_token_is_read_anew_each_time(web, tmp_path):
    token = tmp_path / "token"
    with web.serving(web.always(204), token_file=token) as (peer, requests):
        for value in ("first", "second"):
            token.write_text(value + "\n", encoding="utf-8")
            peer.echo()
    assert [request.headers["Authorization"] for request in requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [b"", b"two words", b"line\r\nX-Other: 1", b"\xff\xfe", "tökën".encode()])
def test_what_is_no_token_is_neither_sent_nor_told(web, tmp_path, content):
    token = tmp_path / "token"
    token.write_bytes(content)
    with web.serving(web.always(204), token_file=token) as (peer, requests), pytest.raises(PeerUnavailable) as raised:
        peer.echo()
    assert not requests
    assert str(raised.value) in (
        "peer 'pacs': token_file does not hold a token",
        "peer 'pacs': token_file is no text in UTF-8",
    )


def test_a_password_that_is_not_there(web, tmp_path):
    missing = tmp_path / "secret-place"
    with (
        web.serving(web.always(204), username="svc", password_file=missing) as (peer, _),
        pytest.raises(PeerUnavailable) as raised,
    ):
        peer.echo()
    assert str(raised.value) == "peer 'pacs': password_file cannot be read: No such file or directory"


def test_secrets_are_in_no_text(web, tmp_path):
    (tmp_path / "password").write_text("hunter2", encoding="utf-8")
    with (
        web.serving(web.always(401), username="svc", password_file=tmp_path / "password") as (peer, _),
        pytest.raises(PeerRefused) as raised,
    ):
        peer.echo()
    assert "hunter2" not in f"{peer!r} {peer._peer!r} {raised.value!r} {raised.value.__dict__}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(web, slices, told, tmp_path, status):
    (tmp_path / "token").write_text("token", encoding="utf-8")
    with web.serving(web.always(200, web.JSON, b"[]")) as (other, elsewhere):
        headers = {"Location": f"{other._peer.url}studies"}
        with web.serving(web.always(status, headers), token_file=tmp_path / "token") as (peer, _):
            for ask in (peer.echo, lambda: peer.send(slices(1), told)):
                with pytest.raises(PeerRefused, match=f"answers {status}: it is elsewhere"):
                    ask()
    assert not elsewhere


def test_proxies_and_netrc_of_the_environment_are_left_aside(web, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    with web.serving(web.always(204)) as (peer, requests):
        peer.echo()
    assert "Authorization" not in requests[0].headers


def test_certificates_on_both_sides(web, slices, told, certificates):
    ours = Tls(certificate=certificates.certificate, key=certificates.key, authority=certificates.authority)
    context = web.server_tls(certificates, mutual=True)
    with web.serving(
        web.always(200, web.JSON, web.stored(["1.2.3.4.1"])), tls=context, timeout_seconds=5, compress="none"
    ) as (
        peer,
        requests,
    ):
        files = slices(1)
        WebPeer("pacs", peer._peer.model_copy(update={"tls": ours})).send(files, told)
        assert told.verdicts == ["taken"]
        assert web.parts_of(requests[0]) == [files[0].read_bytes()]


@pytest.mark.parametrize("authority", ["other", None])
def test_an_authority_that_is_not_trusted(web, certificates, authority):
    trusted = Tls(authority=getattr(certificates, authority)) if authority else None
    with web.serving(web.always(204), tls=web.server_tls(certificates)) as (peer, requests):
        asking = WebPeer("pacs", peer._peer.model_copy(update={"tls": trusted}))
        with pytest.raises(PeerUnavailable, match="no TLS connection for us: its certificate is not accepted: unable"):
            asking.echo()
    assert not requests


def test_the_certificate_of_another_host(web, certificates):
    with web.serving(web.always(204), tls=web.server_tls(certificates)) as (peer, _):
        url = peer._peer.url.replace("127.0.0.1", "localhost")
        update = {"tls": Tls(authority=certificates.authority), "url": url}
        with pytest.raises(PeerUnavailable, match="certificate is not accepted: Hostname mismatch"):
            WebPeer("pacs", peer._peer.model_copy(update=update)).echo()
