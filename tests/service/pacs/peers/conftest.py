"""Files to send, and certificates.

slices(3, ...) -> paths of n CT instances of one series          told -> a callback, and what it was told
certificates -> an authority, and a certificate of it for 127.0.0.1, as PEM files
dimse, web -> services to talk to; see `dimse_archive.py` and `web_server.py` beside this file
"""

from __future__ import annotations

import ipaddress
import runpy
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def _beside(name):
    return types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name(name))))


@pytest.fixture(scope="session")
def dimse():
    return _beside("dimse_archive.py")


@pytest.fixture(scope="session")
def web():
    return _beside("web_server.py")


@pytest.fixture
def slices(tmp_path, ct_slice):
    """(n, syntax=..., Keyword=value) -> paths of n CT instances of one series, 1.2.3.4.1 and so on."""

    def make(count, *, folder="out", shape=(12, 16), **changes):
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = []
        for number in range(1, count + 1):
            pixels = np.random.default_rng(number).integers(-200, 1500, shape).astype(np.int16)
            path = tmp_path / folder / f"{number}.dcm"
            path.write_bytes(ct_slice(pixels, **{"SOPInstanceUID": f"1.2.3.4.{number}", **changes}))
            paths.append(path)
        return paths

    return make


class Told(dict):
    """What was said of each file, in order; called for each."""

    def __call__(self, path, said):
        assert path not in self
        self[path] = said

    @property
    def verdicts(self):
        return [said.verdict for said in self.values()]


@pytest.fixture
def told():
    return Told()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """`authority`, `certificate`, `key`: PEM files; `other`: an authority that signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = _Authority("Test Authority")
    certificate, key = authority.sign("127.0.0.1")
    made = types.SimpleNamespace()
    for name, data in {
        "authority": authority.pem,
        "certificate": certificate,
        "key": key,
        "other": _Authority("Other Authority").pem,
        "locked": _locked(key),
    }.items():
        path = folder / f"{name}.pem"
        path.write_bytes(data)
        setattr(made, name, path)
    return made


class _Authority:
    def __init__(self, name):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._draft(self._name, self._key, authority=True)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def sign(self, address):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = self._draft(name, key, authority=False).add_extension(names, critical=False)
        return (
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            _private(key, serialization.NoEncryption()),
        )

    def _draft(self, subject, key, *, authority):
        now = datetime.now(UTC)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        )


def _private(key, encryption):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _locked(key):
    loaded = serialization.load_pem_private_key(key, None)
    return _private(loaded, serialization.BestAvailableEncryption(b"a passphrase"))
