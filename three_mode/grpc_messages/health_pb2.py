"""Messages of `proto/grpc/health/v1/health.proto`. Written by `python -m scripts.protos`: change the schema, not this file."""

from three_mode.grpc_messages.pool import load

DESCRIPTOR = load(
    b'\n\x1bgrpc/health/v1/health.proto\x12\x0eg'
    b'rpc.health.v1".\n\x12HealthCheckRequ'
    b'est\x12\x18\n\x07service\x18\x01 \x01(\tR\x07service"\xb1\x01'
    b'\n\x13HealthCheckResponse\x12I\n\x06status\x18'
    b'\x01 \x01(\x0e21.grpc.health.v1.HealthChe'
    b'ckResponse.ServingStatusR\x06status'
    b'"O\n\rServingStatus\x12\x0b\n\x07UNKNOWN\x10\x00\x12\x0b'
    b'\n\x07SERVING\x10\x01\x12\x0f\n\x0bNOT_SERVING\x10\x02\x12\x13\n\x0f'
    b'SERVICE_UNKNOWN\x10\x032\xae\x01\n\x06Health\x12P\n\x05'
    b'Check\x12".grpc.health.v1.HealthChe'
    b'ckRequest\x1a#.grpc.health.v1.Healt'
    b'hCheckResponse\x12R\n\x05Watch\x12".grpc.h'
    b'ealth.v1.HealthCheckRequest\x1a#.gr'
    b'pc.health.v1.HealthCheckResponse'
    b'0\x01b\x06proto3',
    globals(),
)
