"""The story of tests/clients/README.md with grpcio and generated code: python3 generated.py ADDRESS ORGANIZATION."""

import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from queuegate.v1 import (
    common_pb2,
    directory_pb2,
    directory_pb2_grpc,
    permission_pb2,
    permission_pb2_grpc,
    queue_access_pb2,
    queue_access_pb2_grpc,
)

address, organization_id = sys.argv[1:]
channel = grpc.insecure_channel(address, compression=grpc.Compression.Gzip)
directory = directory_pb2_grpc.DirectoryServiceStub(channel)
permission = permission_pb2_grpc.PermissionServiceStub(channel)
access = queue_access_pb2_grpc.QueueAccessServiceStub(channel)
passed = 0


def expect(rule, found, wanted):
    global passed
    assert found == wanted, f"{rule}: {found!r} instead of {wanted!r}"
    print(f"ok: {rule}")
    passed += 1


def sign_in(user_id):
    channel_of_call = common_pb2.CHANNEL_FEATURE_CODE
    names = {"organization_id": organization_id, "user_id": user_id, "queue_id": "sales"}
    return access.SignIn(queue_access_pb2.SignInRequest(channel=channel_of_call, **names), timeout=5)


def sign_out(user_id):
    names = {"organization_id": organization_id, "user_id": user_id, "queue_id": "sales"}
    return access.SignOut(queue_access_pb2.SignOutRequest(**names), timeout=5).ended_sessions


def watch(start_revision):
    watching = grpc.insecure_channel(address)
    request = queue_access_pb2.WatchSessionsRequest(organization_id=organization_id, start_revision=start_revision)
    return watching, queue_access_pb2_grpc.QueueAccessServiceStub(watching).WatchSessions(request, timeout=30)


organization = directory_pb2.Organization(organization_id=organization_id, display_name="Generated")
restricted = common_pb2.UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED
request = directory_pb2.CreateOrganizationRequest(organization=organization, unassigned_queue_sign_in=restricted)
created = directory.CreateOrganization(request, timeout=5).organization
expect("an organization is created", created.display_name, "Generated")
queue = directory_pb2.Queue(queue_id="sales", extension="801", kind=common_pb2.QUEUE_KIND_CALL_QUEUE)
directory.CreateQueue(directory_pb2.CreateQueueRequest(organization_id=organization_id, queue=queue), timeout=5)
for user_id in ["ann", "bob"]:
    user = directory_pb2.User(user_id=user_id)
    directory.CreateUser(directory_pb2.CreateUserRequest(organization_id=organization_id, user=user), timeout=5)
listed = directory.ListUsers(directory_pb2.ListUsersRequest(organization_id=organization_id), timeout=5)
expect("its users are listed", [user.user_id for user in listed.users], ["ann", "bob"])

denied = sign_in("ann")
expect("a sign-in is denied", denied.decision.reason, queue_access_pb2.REASON_UNASSIGNED_RESTRICTED)
expect("a denial has no session", (denied.decision.allowed, denied.HasField("session")), (False, False))
allowed = permission_pb2.OrganizationSettings(unassigned_queue_sign_in=common_pb2.UNASSIGNED_QUEUE_SIGN_IN_ALLOWED)
settings = permission_pb2.PermissionSettings(organization=allowed)
request = permission_pb2.UpdatePermissionSettingsRequest(organization_id=organization_id, settings=settings)
permission.UpdatePermissionSettings(request, timeout=5)
signed_in = sign_in("ann")
expect("after a change of policy it is allowed", signed_in.decision.allowed, True)
expect("a session was created", signed_in.created, True)

watching, messages = watch("")
initial, checkpoint = next(messages), next(messages)
expect("a watch begins with the live sessions", initial.session.session_id, signed_in.session.session_id)
expect("then it sends a checkpoint", checkpoint.type, queue_access_pb2.WATCH_SESSIONS_TYPE_CHECKPOINT)
watching.close()
sign_in("bob")
expect("a user signs out", [session.user_id for session in sign_out("ann")], ["ann"])
watching, messages = watch(checkpoint.revision)
events = [(message.type, message.session.user_id) for message in (next(messages), next(messages))]
missed = [(queue_access_pb2.WATCH_SESSIONS_TYPE_SIGNED_IN, "bob"), (queue_access_pb2.WATCH_SESSIONS_TYPE_SIGNED_OUT, "ann")]
expect("a watch that was cut resumes without a gap", events, missed)
watching.close()

base, sequence = checkpoint.revision.rsplit("-", 1)
later = f"{base}-{int(sequence, 16) + 1000:016x}"
request = directory_pb2.GetOrganizationRequest(organization_id=organization_id, at_least_revision=later)
try:
    directory.GetOrganization(request, timeout=0.3)
    expect("a deadline ends a call", "an answer", "an error")
except grpc.RpcError as error:
    expect("a deadline ends a call", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

user = directory_pb2.User(user_id="Not an id", extension="x")
try:
    directory.CreateUser(directory_pb2.CreateUserRequest(organization_id=organization_id, user=user), timeout=5)
    expect("a malformed request is an error", "an answer", "an error")
except grpc.RpcError as error:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info) or detail.Unpack(bad)
    expect("an error has its reason", (error.code(), info.reason), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"))
    fields = [violation.field for violation in bad.field_violations]
    expect("and names every bad field", fields, ["user.user_id", "user.extension"])
print(f"python: {passed} passed, 0 failed")
