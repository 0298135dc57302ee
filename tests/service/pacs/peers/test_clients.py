"""Which client a peer has."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.pacs.configuration import parse_configuration
from service.pacs.peers import PeerRefused
from service.pacs.peers.clients import client_of
from service.pacs.peers.dicomweb import WebPeer
from service.pacs.peers.dimse import DimsePeer
from service.pacs.peers.folder import FolderPeer

CONFIGURATION = parse_configuration(
    {
        "peers": {
            "archive": {"aet": "ARCHIVE", "host": "127.0.0.1", "port": 104},
            "scanner": {"aet": "SCANNER", "host": "127.0.0.1", "may_send": True},
            "web": {"url": "https://pacs.example/dicom-web"},
            "files": {"folder": "filed"},
        }
    },
    folder=Path("/nowhere"),
)


@pytest.mark.parametrize(("name", "kind"), [("archive", DimsePeer), ("web", WebPeer), ("files", FolderPeer)])
def test_by_how_it_is_reached(name, kind):
    assert type(client_of(name, CONFIGURATION)) is kind


def test_one_that_is_not_configured_any_more():
    with pytest.raises(PeerRefused, match="the configuration has no peer 'gone'"):
        client_of("gone", CONFIGURATION)


def test_one_that_only_sends():
    with pytest.raises(PeerRefused, match="peer 'scanner' has no host and port to send to"):
        client_of("scanner", CONFIGURATION)
