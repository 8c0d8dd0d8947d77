#!/usr/bin/env python3
"""A client in Python, without generated code: signs a user in to a queue, like a PBX when the user dials *13.

    pip install grpcio grpcio-reflection
    python3 examples/sign_in.py 127.0.0.1:50051 acme 101 801

With the addresses of several nodes, separated by commas, it goes on with the next one when a node fails.
"""

import sys
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Queuegate:
    """The server's methods, found by reflection; requests and responses are dictionaries."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))

    def call(self, method, request, timeout=2):
        """Calls `Service/Method`; returns an iterator if the method streams its responses."""
        service, name = method.split("/")
        descriptor = self.pool.FindServiceByName(f"queuegate.v1.{service}").methods_by_name[name]
        message = json_format.ParseDict(request, message_factory.GetMessageClass(descriptor.input_type)())
        answer_class = message_factory.GetMessageClass(descriptor.output_type)
        answers = {False: self.channel.unary_unary, True: self.channel.unary_stream}[descriptor.server_streaming]
        if descriptor.client_streaming:
            answers, message = self.channel.stream_stream, iter([message])
        call = answers(
            f"/queuegate.v1.{method}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=answer_class.FromString,
        )
        as_dict = lambda answer: json_format.MessageToDict(
            answer,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            # Only this pool knows the types of error details.
            descriptor_pool=self.pool,
        )
        answer = call(message, timeout=timeout)
        return map(as_dict, answer) if descriptor.server_streaming else as_dict(answer)


def call_any(addresses, method, request):
    """Calls the first server that answers. All attempts have the same request_id, so together they have one outcome."""
    lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
    for number, address in enumerate(addresses, start=1):
        try:
            server = Queuegate(address)
            # Reflection has no deadline, and a server that hangs must leave time for another.
            server.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=2)
            return server.call(method, request)
        except grpc.RpcError as error:
            if error.code() not in lost or number == len(addresses):
                raise


def main():
    if len(sys.argv) != 5:
        sys.exit("usage: sign_in.py SERVERS ORGANIZATION USER_EXTENSION QUEUE_EXTENSION")
    servers, organization, user, queue = sys.argv[1:]
    answer = call_any(
        servers.split(","),
        "QueueAccessService/SignIn",
        {
            "organization_id": organization,
            "user_extension": user,
            "queue_extension": queue,
            "channel": "CHANNEL_FEATURE_CODE",
            "device": f"PJSIP/{user}",
            # Use the same id for every attempt of one call, so that a retry after a lost response is safe.
            "request_id": f"call-{uuid.uuid4()}",
        },
    )
    # A denial is an answer. An exception means that the server didn't decide: treat it as a refusal.
    decision = answer["decision"]
    print(f"{decision['allowed']} {decision['reason']}: {decision['explanation']}")


if __name__ == "__main__":
    main()
