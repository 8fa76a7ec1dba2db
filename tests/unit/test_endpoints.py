"""Every endpoint knows its own base, and an id is one segment of the path whatever it holds."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from sources.pancake.endpoints import CONVERSATIONS, MESSAGES

IDS = [
    "100000000000001_7000000000000001",
    "wa_84900000000@c.us_84900000001@c.us",
    "tt_0:1:7000000000000000001",
    "pzl_a/b",
    "a?b=c&d#e",
    "50%",
    "a b+c",
    "Tiệm Hoa",
]


def test_conversations_are_read_from_version_two() -> None:
    assert CONVERSATIONS.path(page_id="1") == "/api/public_api/v2/pages/1/conversations"
    assert CONVERSATIONS.rows_key == "conversations"


def test_messages_are_read_from_version_one() -> None:
    path = MESSAGES.path(page_id="1", conversation_id="2")
    assert path == "/api/public_api/v1/pages/1/conversations/2/messages"
    assert MESSAGES.rows_key == "messages"


@pytest.mark.parametrize("id_", IDS)
def test_an_id_is_one_segment_and_arrives_as_it_was(id_: str) -> None:
    segments = MESSAGES.path(page_id=id_, conversation_id=id_).split("/")
    assert len(segments) == len(MESSAGES.path(page_id="1", conversation_id="2").split("/"))
    assert unquote(segments[5]) == unquote(segments[7]) == id_
    assert segments[7].isascii()
    assert not set(segments[7]) & set(":@/?#&+ ")


def test_the_text_of_an_endpoint_holds_no_id() -> None:
    assert str(MESSAGES) == "/pages/{page_id}/conversations/{conversation_id}/messages"
    assert str(CONVERSATIONS) == "/pages/{page_id}/conversations"
