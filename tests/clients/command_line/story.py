"""The story of tests/clients/README.md with a command-line tool: python3 story.py buf|grpcurl ADDRESS ORGANIZATION.

The tools find the methods by server reflection."""

import base64
import json
import subprocess
import sys

tool, address, organization_id = sys.argv[1:]
DECODER = json.JSONDecoder()
passed = 0


def expect(rule, found, wanted):
    global passed
    assert found == wanted, f"{rule}: {found!r} instead of {wanted!r}"
    print(f"ok: {rule}")
    passed += 1


def command(method, request, seconds=10):
    body, method = json.dumps({"organization_id": organization_id} | request), f"queuegate.v1.{method}"
    if tool == "grpcurl":
        return ["grpcurl", "-plaintext", "-max-time", str(seconds), "-d", body, address, method]
    protocol = ["--timeout", f"{seconds}s", "--http2-prior-knowledge", "--protocol", "grpc"]
    return ["buf", "curl", *protocol, "-d", body, f"http://{address}/{method}"]


def call(method, request):
    done = subprocess.run(command(method, request), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def watched(start_revision, count):
    """The first messages of a watch, whose process is then killed."""
    request = {"start_revision": start_revision}
    watch = subprocess.Popen(command("QueueAccessService/WatchSessions", request), stdout=subprocess.PIPE, text=True)
    messages, text = [], ""
    while len(messages) < count:
        line = watch.stdout.readline()
        assert line, "the watch ended"
        text = (text + line).lstrip()
        try:
            message, end = DECODER.raw_decode(text)
        except json.JSONDecodeError:
            continue
        messages.append(message)
        text = text[end:]
    watch.kill()
    watch.wait()
    return messages


def on_sales(user_id):
    return {"user_id": user_id, "queue_id": "sales"}


def sign_in(user_id):
    return call("QueueAccessService/SignIn", on_sales(user_id) | {"channel": "CHANNEL_FEATURE_CODE"})


organization = {"organization_id": organization_id, "display_name": "Dialed"}
setting = {"unassigned_queue_sign_in": "UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED"}
# This request has no organization_id beside the one in the organization.
create = command("DirectoryService/CreateOrganization", {})
create[create.index("-d") + 1] = json.dumps({"organization": organization} | setting)
created = json.loads(subprocess.run(create, capture_output=True, text=True, check=True, timeout=30).stdout)
expect("an organization is created", created["organization"]["displayName"], "Dialed")
queue = {"queue_id": "sales", "extension": "801", "kind": "QUEUE_KIND_CALL_QUEUE"}
call("DirectoryService/CreateQueue", {"queue": queue})
for user_id in ["ann", "bob"]:
    call("DirectoryService/CreateUser", {"user": {"user_id": user_id}})
listed = call("DirectoryService/ListUsers", {})
expect("its users are listed", [user["userId"] for user in listed["users"]], ["ann", "bob"])

denied = sign_in("ann")
expect("a sign-in is denied", denied["decision"]["reason"], "REASON_UNASSIGNED_RESTRICTED")
expect("a denial has no session", (denied["decision"]["allowed"], "session" in denied), (False, False))
settings = {"organization": {"unassigned_queue_sign_in": "UNASSIGNED_QUEUE_SIGN_IN_ALLOWED"}}
call("PermissionService/UpdatePermissionSettings", {"settings": settings})
signed_in = sign_in("ann")
expect("after a change of policy it is allowed", signed_in["decision"]["allowed"], True)
expect("a session was created", signed_in["created"], True)

initial, checkpoint = watched("", 2)
session_id = signed_in["session"]["sessionId"]
expect("a watch begins with the live sessions", initial["session"]["sessionId"], session_id)
expect("then it sends a checkpoint", checkpoint["type"], "WATCH_SESSIONS_TYPE_CHECKPOINT")
sign_in("bob")
ended = call("QueueAccessService/SignOut", on_sales("ann"))["endedSessions"]
expect("a user signs out", [session["userId"] for session in ended], ["ann"])
events = [(message["type"], message["session"]["userId"]) for message in watched(checkpoint["revision"], 2)]
missed = [("WATCH_SESSIONS_TYPE_SIGNED_IN", "bob"), ("WATCH_SESSIONS_TYPE_SIGNED_OUT", "ann")]
expect("a watch that was cut resumes without a gap", events, missed)

base, sequence = checkpoint["revision"].rsplit("-", 1)
later = {"at_least_revision": f"{base}-{int(sequence, 16) + 1000:016x}"}
late = command("DirectoryService/GetOrganization", later, 0.3)
late = subprocess.run(late, capture_output=True, text=True, timeout=30).stderr
expect("a deadline ends a call", "DeadlineExceeded" in late or "deadline_exceeded" in late, True)

malformed = {"user": {"user_id": "Not an id", "extension": "x"}}
failed = subprocess.run(command("DirectoryService/CreateUser", malformed), capture_output=True, text=True, timeout=30)
if tool == "buf":
    # buf prints details without their types' files as they were encoded.
    details = [base64.b64decode(detail["value"] + "==") for detail in json.loads(failed.stderr)["details"]]
    printed = b" ".join(details).decode(errors="replace")
else:
    printed = failed.stderr
expect("an error has its reason", (failed.returncode != 0, "INVALID_FIELD" in printed), (True, True))
expect("and names every bad field", all(field in printed for field in ["user.user_id", "user.extension"]), True)
print(f"{tool}: {passed} passed, 0 failed")
