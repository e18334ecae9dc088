"""Messages of `proto/three_mode/v1/agents.proto`. Written by `python -m scripts.protos`: change the schema, not this file."""

from three_mode.grpc_messages.pool import load

DESCRIPTOR = load(
    b'\n\x1athree_mode/v1/agents.proto\x12\rth'
    b'ree_mode.v1"A\n\x05Value\x12\x14\n\x04json\x18\x01 \x01'
    b'(\tH\x00R\x04json\x12\x1a\n\x07msgpack\x18\x02 \x01(\x0cH\x00R\x07m'
    b'sgpackB\x06\n\x04form"\x98\x01\n\nAskRequest\x12\x14\n'
    b'\x05agent\x18\x01 \x01(\tR\x05agent\x12\x18\n\x07handler\x18\x02'
    b' \x01(\tR\x07handler\x122\n\targuments\x18\x03 \x01(\x0b'
    b'2\x14.three_mode.v1.ValueR\targument'
    b's\x12\x1b\n\x06within\x18\x04 \x01(\x01H\x00R\x06within\x88\x01\x01B\t'
    b'\n\x07_within"6\n\x08AskReply\x12*\n\x05value\x18\x01'
    b' \x01(\x0b2\x14.three_mode.v1.ValueR\x05valu'
    b'e"\x0b\n\tTellReply"z\n\x10BroadcastReque'
    b'st\x12\x14\n\x05topic\x18\x01 \x01(\tR\x05topic\x12(\n\x04item'
    b'\x18\x02 \x01(\x0b2\x14.three_mode.v1.ValueR\x04it'
    b'em\x12\x1b\n\x06within\x18\x03 \x01(\x01H\x00R\x06within\x88\x01\x01B'
    b'\t\n\x07_within"f\n\x0eBroadcastReply\x12\x12\n\x04'
    b'seen\x18\x01 \x01(\x03R\x04seen\x12\x18\n\x07lagging\x18\x02 \x01('
    b'\x03R\x07lagging\x12\x12\n\x04lost\x18\x03 \x01(\x03R\x04lost\x12\x12'
    b'\n\x04dead\x18\x04 \x01(\x03R\x04dead2\x93\x02\n\x0cAgentServ'
    b'ice\x129\n\x03Ask\x12\x19.three_mode.v1.AskRe'
    b'quest\x1a\x17.three_mode.v1.AskReply\x12>'
    b'\n\x06Stream\x12\x19.three_mode.v1.AskRequ'
    b'est\x1a\x17.three_mode.v1.AskReply0\x01\x12;'
    b'\n\x04Tell\x12\x19.three_mode.v1.AskReques'
    b't\x1a\x18.three_mode.v1.TellReply\x12K\n\tB'
    b'roadcast\x12\x1f.three_mode.v1.Broadca'
    b'stRequest\x1a\x1d.three_mode.v1.Broadc'
    b'astReplyb\x06proto3',
    globals(),
)
