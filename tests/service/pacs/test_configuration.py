"""pacs.toml: what it may say, and for everything else a sentence that says where and what would be right."""

from __future__ import annotations

import pytest

from service.errors import InvalidConfiguration
from service.pacs.configuration import Configuration, Node, Peer, parse_configuration, read_configuration

GOOD = """
[node]
aet = "HOSPITAL 1"
port = 11112
tls = {certificate = "own.pem", key = "/etc/own.key", authority = "ca.pem"}

[peers.archive]
aet = "ARCHIVE"
host = "10.1.2.3"
port = 104
may_send = true
verify = "count"
ask = "web"

[peers.web]
url = "https://pacs.example/dicom-web"
username = "node"
password_file = "secrets/password"

[peers.out]
folder = "out"

[[rules]]
name = "soft kernels"
kernel = "B30*"
model = "ct-l2"
strength = 0.5
to = ["archive", "out"]
expect = "web"

[[rules]]
name = "everything else"
action = "refuse"
"""
ARCHIVE = {"aet": "ARCHIVE", "host": "10.1.2.3", "port": 104}
WEB = {"url": "https://pacs.example/dicom-web"}
TOKEN, PASSWORD = {"token_file": "t"}, {"password_file": "f"}
SCANNER = {"aet": "SCANNER", "host": "10.1.2.4", "may_send": True}


@pytest.fixture
def written(tmp_path):
    """(text) -> a file."""

    def write(text):
        path = tmp_path / "pacs.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_good_one(written, tmp_path):
    made = read_configuration(written(GOOD))
    assert (made.node.aet, made.node.host, made.node.port) == ("HOSPITAL 1", "127.0.0.1", 11112)
    assert [peer.kind for peer in made.peers.values()] == ["dimse", "dicomweb", "folder"]
    assert [peer.verification for peer in made.peers.values()] == ["count", "count", "none"]
    soft, rest = made.rules
    assert (soft.kernel, soft.model, soft.strength, soft.to) == (("B30*",), "ct-l2", 0.5, ("archive", "out"))
    assert (rest.action, rest.to) == ("refuse", ())
    # files are looked for beside it
    assert made.node.tls.certificate == tmp_path / "own.pem"
    assert str(made.node.tls.key) == "/etc/own.key"
    assert made.peers["web"].password_file == tmp_path / "secrets" / "password"
    assert made.peers["out"].folder == tmp_path / "out"


def test_a_relative_name_of_the_file_itself(written, tmp_path, monkeypatch):
    written('[peers.out]\nfolder = "out"\n')
    monkeypatch.chdir(tmp_path)
    assert read_configuration(type(tmp_path)("pacs.toml")).peers["out"].folder == tmp_path / "out"


def test_an_empty_one_receives_nothing(written):
    made = read_configuration(written(""))
    assert made == Configuration()
    assert (made.node.port, made.rules, made.audit) == (None, (), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[node", "is no TOML file: "),
        ("a = 1\na = 2", "is no TOML file: "),
        (b"\xff\xfe", "is no TOML file: "),
        ("# " + "x" * (1 << 20), "has more than 1048576 bytes; it is no pacs.toml"),
    ],
)
def test_what_is_no_toml(written, text, words):
    path = written(text)
    with pytest.raises(InvalidConfiguration) as error:
        read_configuration(path)
    assert str(error.value).startswith(f"{path} {words}")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(InvalidConfiguration, match="nowhere cannot be read: No such file or directory"):
        read_configuration(tmp_path / "nowhere")


def refusal(folder, found):
    with pytest.raises(InvalidConfiguration) as error:
        parse_configuration(found, folder=folder)
    return str(error.value)


def peer(**changes):
    return {"peers": {"p": changes}}


def rules(*found):
    return {"peers": {"archive": ARCHIVE, "web": WEB, "scanner": SCANNER}, "rules": list(found)}


TITLE = "an AE title has 1 to 16 printable ASCII characters without backslash (PS3.5 6.2)"
REFUSED = {
    "unknown part": ({"nodes": {}}, "nodes: Extra inputs are not permitted"),
    "unknown setting": ({"node": {"aets": "X"}}, "node.aets: Extra inputs are not permitted"),
    "long title": ({"node": {"aet": "X" * 17}}, f"node.aet: {TITLE}"),
    "empty title": ({"node": {"aet": ""}}, f"node.aet: {TITLE}"),
    "title of spaces": ({"node": {"aet": "  "}}, f"node.aet: {TITLE}"),
    "title with a backslash": ({"node": {"aet": "A\\B"}}, f"node.aet: {TITLE}"),
    "title that is none": ({"node": {"aet": 7}}, f"node.aet: {TITLE}"),
    "port 0": ({"node": {"port": 0}}, "node.port: Input should be greater than or equal to 1"),
    "port 65536": ({"node": {"port": 65536}}, "node.port: Input should be less than or equal to 65535"),
    "no time": ({"node": {"quiet_seconds": 0}}, "node.quiet_seconds: Input should be greater than 0"),
    "no number": ({"node": {"quiet_seconds": float("nan")}}, "node.quiet_seconds: Input should be"),
    "small parts": ({"node": {"pdu_bytes": 100}}, "node.pdu_bytes: Input should be greater than or equal to 4096"),
    "anybody from anywhere": (
        {"node": {"any_caller": True, "host": "0.0.0.0"}},  # noqa: S104 - it is refused
        "node: any_caller is for loopback only: name those who may send as peers with may_send = true",
    ),
    "certificate without key": (
        {"node": {"tls": {"certificate": "a"}}},
        "node.tls: certificate and key belong together: give both or neither",
    ),
    "TLS without certificate": (
        {"node": {"tls": {"authority": "a"}}},
        "node: tls of the node needs a certificate and its key",
    ),
    "name of a peer": ({"peers": {"a/b": ARCHIVE}}, "peers.a/b.[key]: String should match pattern"),
    "no kind": (peer(), "peers.p: a peer has either aet, host and port (DIMSE), or url (DICOMweb), or folder"),
    "two kinds": (peer(**ARCHIVE, folder="x"), "peers.p: a peer has either aet, host and port (DIMSE), or url"),
    "host alone": (peer(aet="A", host="h"), "peers.p: host and port belong together: where it takes associations"),
    "port alone": (peer(aet="A", port=104), "peers.p: host and port belong together: where it takes associations"),
    "host of a folder": (peer(folder="x", host="h"), "peers.p: host, port and may_send belong to a peer with an aet"),
    "sends by DICOMweb": (peer(**WEB, may_send=True), "peers.p: host, port and may_send belong to a peer with an aet"),
    "sends from nowhere": (
        peer(aet="A", may_send=True),
        "peers.p: may_send needs host or addresses: from where it calls",
    ),
    "no address": (
        peer(aet="A", may_send=True, addresses=["ct.example"]),
        "peers.p: 'ct.example' does not appear to be an IPv4 or IPv6 network",
    ),
    "url of another kind": (peer(url="ftp://pacs.example"), "peers.p.url: String should match pattern"),
    "url with a query": (peer(url="https://pacs.example/x?y"), "peers.p.url: String should match pattern"),
    "user without password": (peer(**WEB, username="u"), "peers.p: username and password_file belong together"),
    "password without user": (peer(**WEB, **PASSWORD), "peers.p: username and password_file belong together"),
    "two secrets": (
        peer(**WEB, username="u", **PASSWORD, **TOKEN),
        "peers.p: either username and password_file, or token_file",
    ),
    "secret for DIMSE": (
        peer(**ARCHIVE, **TOKEN),
        "peers.p: username and token_file belong to a peer with a url",
    ),
    "password in the clear": (
        peer(url="http://pacs.example/", username="u", **PASSWORD),
        "peers.p: a password or token would cross the network in the clear: use https",
    ),
    "token in the clear": (
        peer(url="http://127.0.0.1.example/", **TOKEN),
        "peers.p: a password or token would cross the network in the clear: use https",
    ),
    "commitment by DICOMweb": (
        peer(**WEB, verify="commitment"),
        "peers.p: verify = 'commitment' is a service of DIMSE; a DICOMweb peer is asked with 'count'",
    ),
    "commitment without a port": (
        peer(**ARCHIVE, verify="commitment"),
        "peer 'p': verify = 'commitment' needs a port of the node: the report comes on an association of the peer's",
    ),
    "count of nobody": (
        peer(**ARCHIVE, verify="count"),
        "peers.p: verify = 'count' asks a DICOMweb peer: name it with ask",
    ),
    "asks itself": (
        peer(**ARCHIVE, verify="count", ask="p"),
        "peer 'p': ask must name a peer with a url",
    ),
    "asks nobody": (peer(**ARCHIVE, ask="q"), "peer 'p': ask must name a peer with a url"),
    "nowhere to": (
        rules({"name": "r"}),
        "rules 1: a rule that reconstructs needs to: the peers that get the derived series",
    ),
    "refuses to somebody": (
        rules({"name": "a", "action": "refuse"}, {"name": "r", "action": "refuse", "to": "archive"}),
        "rules 2: model and to belong to a rule that reconstructs",
    ),
    "keeps with a model": (
        rules({"name": "r", "action": "keep", "model": "ct-l2"}),
        "rules 1: model and to belong to a rule that reconstructs",
    ),
    "no name": (rules({"action": "refuse"}), "rules 1.name: Field required"),
    "the same name": (
        rules({"name": "r", "action": "keep"}, {"name": "r", "action": "refuse"}),
        "two rules have the same name",
    ),
    "unknown peer": (rules({"name": "r", "to": "nobody"}), "rule 'r': to names 'nobody', and there is no such peer"),
    "no port": (rules({"name": "r", "to": "scanner"}), "rule 'r': to names 'scanner', which has no port to send to"),
    "no host": (
        {
            "peers": {"p": {"aet": "A", "port": 104, "may_send": True, "addresses": "10.0.0.0/8"}},
            "rules": [{"name": "r", "to": "p"}],
        },
        "rule 'r': to names 'p', which has no host to send to",
    ),
    "expects of DIMSE": (
        rules({"name": "r", "to": "web", "expect": "archive"}),
        "rule 'r': expect must name a peer with a url",
    ),
    "too strong": (
        rules({"name": "r", "to": "web", "strength": 1.1}),
        "rules 1.strength: Input should be less than or equal to 1",
    ),
    "unknown condition": (
        rules({"name": "r", "to": "web", "kernels": "x"}),
        "rules 1.kernels: Extra inputs are not permitted",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_says_where_and_what(tmp_path, name):
    found, words = REFUSED[name]
    assert refusal(tmp_path, found).startswith(f"pacs.toml: {words}")


def test_a_model_that_is_no_ref(tmp_path):
    assert "../../etc" in refusal(tmp_path, rules({"name": "r", "to": "web", "model": "../../etc"}))


def test_all_of_what_is_wrong_is_told_at_once(tmp_path):
    told = refusal(tmp_path, {"node": {"port": 0, "aet": ""}, "peers": {"p": {}}})
    assert [each.partition(": ")[0] for each in told.removeprefix("pacs.toml: ").split("; ")] == [
        "node.aet",
        "node.port",
        "peers.p",
    ]


def test_what_is_refused_is_not_repeated(tmp_path):
    assert "hunter2" not in refusal(tmp_path, peer(**WEB, passwort="hunter2"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8042/dicom-web", "http://localhost/x", "http://[::1]:80/x"])
def test_secrets_may_go_to_this_machine_in_the_clear(url):
    assert Peer(url=url, **TOKEN).kind == "dicomweb"


def test_a_peer_that_only_calls_needs_no_port():
    assert Peer(**SCANNER).port is None
    assert Peer(aet="A", may_send=True, addresses="10.0.0.0/8").addresses == ("10.0.0.0/8",)


def test_commitment_is_reported_to_the_port_of_the_node(tmp_path):
    made = parse_configuration({"node": {"port": 11112}, **peer(**ARCHIVE, verify="commitment")}, folder=tmp_path)
    assert made.peers["p"].verification == "commitment"


def test_a_node_that_anybody_may_call_on_loopback():
    assert Node(any_caller=True, host="::1").any_caller
