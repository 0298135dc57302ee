import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InvalidRef
from model_store.refs import Ref, check_label, check_name, parse_ref

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
LABELS = st.from_regex(r"[a-z][a-z0-9-]{0,63}", fullmatch=True)


@given(NAMES, st.none() | LABELS | st.integers(1, 999_999_999))
def test_every_ref_of_the_grammar_is_read_and_written_back(name, selector):
    text = name if selector is None else f"{name}@{selector}"
    ref = parse_ref(text)
    assert str(ref) == text
    assert ref.name == name
    assert (ref.version or ref.label) == selector


@given(st.text(max_size=200) | st.text(alphabet="ab1-@./\n\0 '\"é٣", max_size=20))
def test_any_text_is_a_ref_of_the_grammar_or_refused_with_a_short_ascii_message(text):
    try:
        ref = parse_ref(text)
    except InvalidRef as error:
        message = str(error)
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 1000
    else:
        assert str(ref) == text
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-@")


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("ct-l2", Ref("ct-l2")),
        ("ct-l2@3", Ref("ct-l2", version=3)),
        ("ct-l2@stable", Ref("ct-l2", label="stable")),
        ("2d@v3", Ref("2d", label="v3")),
        ("a" * 64, Ref("a" * 64)),
    ],
)
def test_examples(text, ref):
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ct-l2@",
        "@3",
        "../../etc",
        "ct-l2/1",
        "ct-l2@../1",
        "CT-L2",
        "-ct",
        "ct_l2",
        "ct-l2 ",
        "ct-l2\n",
        "ct-l2@3\n",
        "ct-l2@0",
        "ct-l2@03",
        "ct-l2@-3",
        "ct-l2@3.0",
        "ct-l2@1234567890",
        "ct-l2@٣",
        "ct-l2@3@stable",
        "ct-l2@Stable",
        "ct-l2@3a",
        "'; drop",
        "a" * 65,
        "manifest.json",
    ],
)
def test_refused_examples(text):
    with pytest.raises(InvalidRef):
        parse_ref(text)


def test_the_message_repeats_the_start_of_a_long_text_and_its_length():
    with pytest.raises(InvalidRef) as caught:
        parse_ref("x" * 10_000)
    assert "'" + "x" * 60 + "'... (10000 characters)" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_names_and_labels_are_checked_alone_too():
    assert check_name("ct-l2") == "ct-l2"
    assert check_label("stable") == "stable"
    with pytest.raises(InvalidRef, match="ct-l2@3"):
        check_name("ct-l2@3")
    with pytest.raises(InvalidRef, match="'7'"):
        check_label("7")
