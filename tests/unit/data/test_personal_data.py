"""A scanner for personal data finds nothing in the default dataset, so that cleaning does not change it."""

from typing import Any

import pytest


@pytest.fixture(scope="module")
def recognisers() -> list[Any]:
    from presidio_analyzer import PatternRecognizer, RecognizerRegistry

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    # The URL and e-mail recognisers fetch a list of domain endings; `@` and `://` are looked for instead.
    domains = {"EmailRecognizer", "UrlRecognizer"}
    return [each for each in registry.recognizers if isinstance(each, PatternRecognizer) and each.name not in domains]


def test_a_scanner_for_personal_data_finds_nothing(
    recognisers: list[Any], conversations: list[list[dict[str, str]]], evaluation: list[dict[str, Any]]
):
    asked = [row["messages"] for row in evaluation]
    texts = {message["content"] for messages in conversations + asked for message in messages}
    assert len(recognisers) >= 5
    for text in texts:
        found = [result for each in recognisers for result in each.analyze(text, each.supported_entities)]
        assert not found, (text, found)
        assert "@" not in text, text
        assert "://" not in text, text


def test_the_scanner_does_find_a_card_number(recognisers: list[Any]):
    text = "My card is 4111 1111 1111 1111."
    assert any(each.analyze(text, each.supported_entities) for each in recognisers)
