"""Lines of a keys file, and which of them a key is; the digest below was made with sha256sum."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import keys
from service.errors import InvalidKeysFile
from service.keys import ApiKey, KeyRing, Scope, digest_of, is_name, new_key, parse_keys

# printf %s abc | sha256sum
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
FILE = f"""# clients of the scanner room
pacs    reconstruct          sha256:{ABC}

ops     admin,reconstruct    sha256:{"0" * 64}   # Ms Quirk, until March
prometheus\tread\tsha256:{"F" * 64}\r
"""


def test_a_file_with_comments_blank_lines_tabs_and_carriage_returns():
    ring = parse_keys(FILE)
    assert [(key.name, key.scopes) for key in ring.keys] == [
        ("pacs", {Scope.RECONSTRUCT}),
        ("ops", {Scope.ADMIN, Scope.RECONSTRUCT}),
        ("prometheus", {Scope.READ}),
    ]
    assert ring.keys[0].digest.hex() == ABC


def test_a_key_is_found_by_its_hash():
    ring = parse_keys(FILE)
    assert ring.find(b"abc") is ring.keys[0]
    for wrong in (b"", b"abc ", b"abd", ABC.encode(), b"\xff" * 10_000):
        assert ring.find(wrong) is None


def test_every_key_is_compared_in_constant_time_wherever_the_match_is(monkeypatch):
    compared = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    ring = KeyRing(tuple(ApiKey(f"k{n}", frozenset({Scope.READ}), digest_of(f"{n}".encode())) for n in range(5)))
    for key, name in ((b"0", "k0"), (b"4", "k4"), (b"none", None)):
        compared.clear()
        found = ring.find(key)
        assert (found and found.name) == name
        assert compared == [entry.digest for entry in ring.keys]


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ({"read"}, {"read"}),
        ({"reconstruct"}, {"read", "reconstruct"}),
        ({"admin"}, {"read", "admin"}),
        ({"admin", "reconstruct"}, {"read", "reconstruct", "admin"}),
    ],
)
def test_scopes_do_not_include_each_other_but_every_key_reads(scopes, allowed):
    key = ApiKey("x", frozenset(Scope(scope) for scope in scopes), bytes(32))
    assert {scope.value for scope in Scope if key.allows(scope)} == allowed


MISPLACED = "clearslice_this-is-a-real-key-that-must-not-be-told"
WRONG = {
    "key alone": (MISPLACED, 1, "NAME SCOPES sha256"),
    "key instead of its hash": (f"pacs reconstruct {MISPLACED}", 1, "not the key itself"),
    "key as the name": (f"={MISPLACED} reconstruct sha256:{ABC}", 1, "name must be"),
    "key as the scope": (f"pacs {MISPLACED} sha256:{ABC}", 1, "read, reconstruct, admin"),
    "a space between scopes": (f"\npacs admin, read sha256:{ABC}", 2, "no spaces"),
    "empty scope": (f"pacs admin, sha256:{ABC}", 1, "scopes are"),
    "digest too short": (f"pacs admin sha256:{ABC[:-1]}", 1, "64 hexadecimal"),
    "digest too long": (f"pacs admin sha256:{ABC}0", 1, "64 hexadecimal"),
    "another hash": (f"pacs admin md5:{ABC}", 1, "64 hexadecimal"),
    "name twice": (f"a read sha256:{ABC}\n#\na read sha256:{'1' * 64}", 3, "used above"),
    "key twice": (f"a read sha256:{ABC}\nb read sha256:{ABC.upper()}", 2, "line 1"),
    "name too long": (f"{'n' * 65} read sha256:{ABC}", 1, "1 to 64"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_line_and_without_what_stands_there(name):
    text, line, reason = WRONG[name]
    with pytest.raises(InvalidKeysFile, match=reason) as caught:
        parse_keys(text)
    assert str(caught.value).startswith(f"line {line}: ")
    assert "real-key" not in str(caught.value)
    assert ABC[:10] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", f"# pacs read sha256:{ABC}"])
def test_a_file_that_lets_nobody_in(text):
    with pytest.raises(InvalidKeysFile, match="clearslice keys new"):
        parse_keys(text)


def test_more_keys_than_can_be_compared_quickly():
    lines = [f"k{number} read sha256:{number:064x}" for number in range(keys.MAX_KEYS + 1)]
    assert len(parse_keys("\n".join(lines[:-1])).keys) == keys.MAX_KEYS
    with pytest.raises(InvalidKeysFile, match="1001 keys"):
        parse_keys("\n".join(lines))


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    scopes=st.sets(st.sampled_from(Scope), min_size=1),
    key=st.binary(max_size=60),
)
def test_a_written_line_reads_back(name, scopes, key):
    made = ApiKey(name, frozenset(scopes), digest_of(key))
    ring = parse_keys(made.line())
    assert ring.keys == (made,)
    assert ring.find(key) == made


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(InvalidKeysFile):
        assert parse_keys(text).keys


def test_new_keys_are_long_and_never_the_same():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("clearslice_") and len(key) == len("clearslice_") + 43 for key in made)
    assert all(key.isascii() and " " not in key for key in made)


def test_a_key_does_not_show_its_digest():
    assert ABC[:8] not in repr(parse_keys(FILE))


@pytest.mark.parametrize(
    ("text", "good"), [("a", True), ("PACS-1.b_c", True), ("", False), ("-a", False), ("a b", False)]
)
def test_names(text, good):
    assert is_name(text) is good
