"""The README's story, played by a third-party client: grpcio and server reflection, no generated code."""

import pathlib
import sys

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "examples"))
from sign_in import Queuegate  # noqa: E402

server = Queuegate(sys.argv[1])
ORGANIZATION = {"organization_id": "acme"}
played = 0


def expect(what, found, wanted):
    global played
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"
    print(f"ok: {what}: {found}")
    played += 1


def sign_in(user, queue):
    request = {"user_extension": user, "queue_extension": queue, "channel": "CHANNEL_FEATURE_CODE"}
    return server.call("QueueAccessService/SignIn", ORGANIZATION | request)


def reason(answer):
    return answer["decision"]["reason"]


document = pathlib.Path(__file__).resolve().parents[3].joinpath("examples/acme.yaml").read_bytes()
import base64  # noqa: E402

answers = list(
    server.call("DirectoryService/ImportDirectory", ORGANIZATION | {"document": base64.b64encode(document).decode()})
)
expect("the contact center is loaded", answers[-1]["report"]["users_created"], "6")
expect("an assigned agent dials in", reason(sign_in("101", "801")), "REASON_ASSIGNED")
first = sign_in("102", "801")
expect("an unassigned one does", reason(first), "REASON_UNASSIGNED_ALLOWED")
settings = {"organization": {"unassigned_queue_sign_in": "UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED"}}
answer = server.call("PermissionService/PreviewPermissionSettings", ORGANIZATION | {"settings": settings})
foretold = [(line["session"]["user_id"], line["retained"]) for line in answer["impact"]["sessions"]]
expect("the preview shows the impact of restricting it", foretold, [("bo", True)])
refused = ORGANIZATION | {"settings": settings, "actor_user_id": "sam"}
try:
    server.call("PermissionService/UpdatePermissionSettings", refused)
    expect("a supervisor may not restrict it", "an answer", "an error")
except grpc.RpcError as error:
    expect("a supervisor may not restrict it", error.code(), grpc.StatusCode.PERMISSION_DENIED)
settings_request = ORGANIZATION | {"settings": settings, "actor_user_id": "petra"}
answer = server.call("PermissionService/UpdatePermissionSettings", settings_request)
expect("the setting is restricted", answer["settings"]["organization"], settings["organization"])
kept = sign_in("102", "801")
expect("the signed-in agent keeps the session", reason(kept), "REASON_ALREADY_SIGNED_IN")
expect("it is the same session", kept["session"]["session_id"], first["session"]["session_id"])
expect("it is retained", kept["session"]["retained"], True)
refused = sign_in("103", "801")
expect("a new one is refused", (refused["decision"]["allowed"], reason(refused)), (False, "REASON_UNASSIGNED_RESTRICTED"))
expect("with an explanation", "Cleo Martin (103) isn't assigned to Sales (801)" in refused["decision"]["explanation"], True)
request = {"supervisor_extension": "201", "user_extension": "103", "queue_extension": "801", "ttl": "3600s"}
answer = server.call("QueueAccessService/SupervisorSignIn", ORGANIZATION | request)
expect("a supervisor signs them in", reason(answer), "REASON_SUPERVISOR_SIGN_IN")
watch = server.call("QueueAccessService/WatchSessions", ORGANIZATION, timeout=10)
initial = [next(watch)["session"]["user_id"] for _ in range(3)]
expect("a watch begins with the live sessions", initial, ["anna", "bo", "cleo"])
expect("then a checkpoint", next(watch)["type"], "WATCH_SESSIONS_TYPE_CHECKPOINT")
answer = server.call("QueueAccessService/SignOut", ORGANIZATION | {"user_extension": "103", "queue_extension": "801"})
expect("they sign out", [s["end_reason"] for s in answer["ended_sessions"]], ["END_REASON_SIGNED_OUT"])
expect("the watch sends it", next(watch)["session"]["end_reason"], "END_REASON_SIGNED_OUT")
expect("and are refused again", reason(sign_in("103", "801")), "REASON_UNASSIGNED_RESTRICTED")
request = ORGANIZATION | {"user_id": "sam", "permission": "PERMISSION_SIGN_IN_AGENTS"}
decision = server.call("PermissionService/CheckPermission", request | {"queue_id": "support"})["decision"]
expect("a supervisor reaches their own queues", decision["reason"], "PERMISSION_REASON_QUEUE_NOT_ASSIGNED")
permissions = server.call("PermissionService/ListUserPermissions", ORGANIZATION | {"user_id": "petra"})["permissions"]
expect("every permission is listed", len(permissions), len(server.call("PermissionService/ListPermissions", {})["permissions"]))
request = ORGANIZATION | {"user_extension": "103", "queue_extension": "801", "allowed": False}
events = server.call("AuditService/ListAuditEvents", request)["events"]
expect("the reasons of the refusals are recorded", [event["reason"] for event in events], ["REASON_UNASSIGNED_RESTRICTED"] * 2)
request = ORGANIZATION | {"allowed": False, "actor_user_id": "sam"}
events = server.call("AuditService/ListAuditEvents", request)["events"]
expect("so is the refused change of settings", [event["action"] for event in events], ["AUDIT_ACTION_UPDATE_SETTINGS"])
answers = list(server.call("AuditService/VerifyAuditLog", ORGANIZATION))
expect("and the audit log is intact", answers[-1]["verification"]["valid"], True)
try:
    server.call("QueueAccessService/CheckQueueAccess", {"organization_id": "nobody", "user_id": "a", "queue_id": "b", "channel": 1})
    expect("an unknown organization is an error", "an answer", "an error")
except grpc.RpcError as error:
    expect("an unknown organization is an error", error.code(), grpc.StatusCode.NOT_FOUND)
print(f"{played} passed, 0 failed")
