# Written by `python -m scripts.protos` from proto/three_mode/v1/agents.proto.
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("json", "msgpack")
    JSON_FIELD_NUMBER: _ClassVar[int]
    MSGPACK_FIELD_NUMBER: _ClassVar[int]
    json: str
    msgpack: bytes
    def __init__(self, json: _Optional[str] = ..., msgpack: _Optional[bytes] = ...) -> None: ...

class AskRequest(_message.Message):
    __slots__ = ("agent", "handler", "arguments", "within")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    agent: str
    handler: str
    arguments: Value
    within: float
    def __init__(self, agent: _Optional[str] = ..., handler: _Optional[str] = ..., arguments: _Optional[_Union[Value, _Mapping]] = ..., within: _Optional[float] = ...) -> None: ...

class AskReply(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: Value
    def __init__(self, value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class TellReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BroadcastRequest(_message.Message):
    __slots__ = ("topic", "item", "within")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    topic: str
    item: Value
    within: float
    def __init__(self, topic: _Optional[str] = ..., item: _Optional[_Union[Value, _Mapping]] = ..., within: _Optional[float] = ...) -> None: ...

class BroadcastReply(_message.Message):
    __slots__ = ("seen", "lagging", "lost", "dead")
    SEEN_FIELD_NUMBER: _ClassVar[int]
    LAGGING_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    seen: int
    lagging: int
    lost: int
    dead: int
    def __init__(self, seen: _Optional[int] = ..., lagging: _Optional[int] = ..., lost: _Optional[int] = ..., dead: _Optional[int] = ...) -> None: ...
