"""`grpc.reflection`: which services there are, and their schemas, for tools such as grpcurl. The two versions of the
protocol differ in their names only."""

from contextlib import aclosing

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from three_mode.grpc_messages import reflection_pb2 as pb
from three_mode.grpc_messages.pool import POOL
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.methods import Method
from transports.grpc import GrpcStatus

SERVICE = "grpc.reflection.v1.ServerReflection"
OLDER = "grpc.reflection.v1alpha.ServerReflection"


class ReflectionService:
    """Answers from the schemas of the product."""

    def __init__(self, services: frozenset[str]) -> None:
        self._services = services | {SERVICE, OLDER}
        _know_the_older()

    def methods(self) -> dict[str, Method]:
        """Its method by its name."""
        return {"ServerReflectionInfo": Method(both=self._inform)}

    async def _inform(self, call: GrpcCall) -> None:
        async with aclosing(call.messages()) as messages:
            async for data in messages:
                asked = pb.ServerReflectionRequest.FromString(data)
                answer = self._answer(asked)
                answer.valid_host = asked.host
                answer.original_request.CopyFrom(asked)
                await call.write(answer.SerializeToString())

    def _answer(self, asked: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        kind = asked.WhichOneof("message_request")
        answer = pb.ServerReflectionResponse()
        try:
            if kind == "list_services":
                for name in sorted(self._services):
                    answer.list_services_response.service.add(name=name)
            elif kind == "file_by_filename":
                _add_file(answer, POOL.FindFileByName(asked.file_by_filename))
            elif kind == "file_containing_symbol":
                _add_file(answer, POOL.FindFileContainingSymbol(asked.file_containing_symbol))
            elif kind == "all_extension_numbers_of_type":
                name = asked.all_extension_numbers_of_type
                POOL.FindMessageTypeByName(name)
                answer.all_extension_numbers_response.base_type_name = name  # there are none
            else:
                raise KeyError("no extension is known")
        except KeyError as error:
            answer.error_response.error_code = GrpcStatus.NOT_FOUND
            answer.error_response.error_message = f"not here: {str(error)[:200]}"
        return answer


def _add_file(answer: pb.ServerReflectionResponse, file: object) -> None:
    """The file, and after it those that it imports."""
    waiting, seen = [file], set()
    while waiting:
        each = waiting.pop(0)
        if each.name not in seen:  # type: ignore[attr-defined]  # a descriptor of whichever implementation
            seen.add(each.name)  # type: ignore[attr-defined]
            answer.file_descriptor_response.file_descriptor_proto.append(each.serialized_pb)  # type: ignore[attr-defined]
            waiting += each.dependencies  # type: ignore[attr-defined]


def _know_the_older() -> None:
    """Adds the schema of v1alpha, which is that of v1 under another name."""
    try:
        POOL.FindFileByName("grpc/reflection/v1alpha/reflection.proto")
    except KeyError:
        file = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
        file.name = "grpc/reflection/v1alpha/reflection.proto"
        file.package = "grpc.reflection.v1alpha"
        for message in file.message_type:
            for field in (field for field in message.field if field.type_name):
                field.type_name = field.type_name.replace(".v1.", ".v1alpha.")
        for method in file.service[0].method:
            method.input_type = method.input_type.replace(".v1.", ".v1alpha.")
            method.output_type = method.output_type.replace(".v1.", ".v1alpha.")
        POOL.AddSerializedFile(file.SerializeToString())
