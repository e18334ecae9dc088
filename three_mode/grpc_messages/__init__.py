"""Messages of gRPC: generated from `proto/`, and converted to and from ours. They need the extra `grpc`.

`llm_pb2`, `agents_pb2` and the other `*_pb2` are written by `python -m scripts.protos`.
"""
