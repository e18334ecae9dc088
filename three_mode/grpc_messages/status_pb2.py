"""Messages of `proto/google/rpc/status.proto`. Written by `python -m scripts.protos`: change the schema, not this file."""

from three_mode.grpc_messages.pool import load

DESCRIPTOR = load(
    b'\n\x17google/rpc/status.proto\x12\ngoogl'
    b'e.rpc\x1a\x19google/protobuf/any.proto'
    b'\x1a\x1egoogle/protobuf/duration.proto'
    b'"f\n\x06Status\x12\x12\n\x04code\x18\x01 \x01(\x05R\x04code\x12\x18'
    b'\n\x07message\x18\x02 \x01(\tR\x07message\x12.\n\x07deta'
    b'ils\x18\x03 \x03(\x0b2\x14.google.protobuf.AnyR'
    b'\x07details"\xb9\x01\n\tErrorInfo\x12\x16\n\x06reason'
    b'\x18\x01 \x01(\tR\x06reason\x12\x16\n\x06domain\x18\x02 \x01(\tR\x06'
    b'domain\x12?\n\x08metadata\x18\x03 \x03(\x0b2#.googl'
    b'e.rpc.ErrorInfo.MetadataEntryR\x08m'
    b'etadata\x1a;\n\rMetadataEntry\x12\x10\n\x03key\x18'
    b'\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value'
    b':\x028\x01"G\n\tRetryInfo\x12:\n\x0bretry_delay'
    b'\x18\x01 \x01(\x0b2\x19.google.protobuf.Duratio'
    b'nR\nretryDelay"\xa8\x01\n\nBadRequest\x12P\n\x10'
    b'field_violations\x18\x01 \x03(\x0b2%.google.'
    b'rpc.BadRequest.FieldViolationR\x0ff'
    b'ieldViolations\x1aH\n\x0eFieldViolation'
    b'\x12\x14\n\x05field\x18\x01 \x01(\tR\x05field\x12 \n\x0bdescri'
    b'ption\x18\x02 \x01(\tR\x0bdescriptionb\x06proto3',
    globals(),
)
