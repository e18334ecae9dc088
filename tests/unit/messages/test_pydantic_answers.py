"""Models of pydantic as the shape of an answer, and as what it is parsed to."""

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, Field

from three_mode.errors import BadReply
from three_mode.messages import LLMRequest, LLMResponse, Message, ResponseFormat, Text


class City(BaseModel):
    name: str = Field(alias="Name")
    people: int = Field(ge=0)


@dataclass
class Pair:
    first: City
    second: City


def reply(content: str) -> LLMResponse:
    return LLMResponse(parts=(Text(content),), model="m", provider="p")


def test_a_model_is_a_response_format() -> None:
    request = LLMRequest(messages=[Message("user", "Where?")], response_format=City)
    assert request.response_format is not None
    assert request.response_format.name == "City"
    schema = request.response_format.json_schema or {}
    assert schema["properties"]["Name"] == {"title": "Name", "type": "string"}
    assert schema["required"] == ["Name", "people"]


def test_types_with_a_model_in_them_are_response_formats() -> None:
    for kind in (list[City], City | None, Pair):
        schema = ResponseFormat.of(kind).json_schema or {}
        assert "City" in schema["$defs"]


def test_an_answer_is_parsed_to_a_model() -> None:
    assert reply('{"Name": "Bonn", "people": 3}').parse(City) == City(Name="Bonn", people=3)
    assert reply('[{"Name": "Bonn", "people": 3}]').parse(list[City])[0].name == "Bonn"
    with pytest.raises(BadReply, match="City: people: Input should be greater than or equal to 0"):
        reply('{"Name": "Bonn", "people": -3}').parse(City)
    with pytest.raises(BadReply, match="Invalid JSON"):
        reply("Bonn").parse(City)
