"""Classes of the generated messages, in a pool of their own.

A program may have its own code from the same schemas, or other packages that bring `google.rpc` and `grpc.health.v1`.
The default pool of protobuf takes each name once, so a second one would be an error at import.
"""

from typing import Any

from three_mode.errors import MissingExtra

try:
    from google.protobuf import (
        any_pb2,
        descriptor_pool,
        duration_pb2,
        empty_pb2,
        message_factory,
        struct_pb2,
        timestamp_pb2,
    )
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
except ImportError:
    raise MissingExtra.of("protobuf, which gRPC needs,", "grpc") from None

POOL: Any = descriptor_pool.DescriptorPool()
for known in (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2):
    POOL.AddSerializedFile(known.DESCRIPTOR.serialized_pb)


def load(serialized: bytes, into: dict[str, Any]) -> FileDescriptor:
    """Adds a file of messages to the pool, and its classes and constants to the module that holds it."""
    POOL.AddSerializedFile(serialized)
    file: FileDescriptor = POOL.FindFileByName(_name_of(serialized))
    for name, message in file.message_types_by_name.items():
        into[name] = message_factory.GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        into[name] = EnumTypeWrapper(enum)
        into.update({value.name: value.number for value in enum.values})
    return file


def _name_of(serialized: bytes) -> str:
    """The first field of a file is its name."""
    length = serialized[1]  # of fewer than 128 bytes
    return serialized[2 : 2 + length].decode()
