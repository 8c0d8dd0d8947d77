"""The program behind each proxy, with the fragments of docs/proxies.md: python3 story.py PROGRAM [--long] [PROXY]..."""

import base64
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from sign_in import Queuegate  # noqa: E402

PROGRAM, *arguments = sys.argv[1:]
# Longer than the usual idle timeout of a proxy, 60 seconds.
IDLE_S = 100 if "--long" in arguments else 2
PROXIES = [name for name in arguments if not name.startswith("--")] or ["nginx", "haproxy"]
PATIENCE_S = 30
ACME = {"organization_id": "acme"}

folder = pathlib.Path(tempfile.mkdtemp())
processes = []
passed = 0


def expect(rule, found, wanted):
    global passed
    assert found == wanted, f"{rule}: {found!r} instead of {wanted!r}"
    print(f"ok: {rule}")
    passed += 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(rule, holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{rule}: not within {PATIENCE_S} s"
        time.sleep(0.05)


def start(*command, log):
    with open(folder / log, "ab") as output:
        processes.append(subprocess.Popen(command, stdout=output, stderr=output))
    return processes[-1]


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)


def openssl(*command):
    subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


def make_certificates():
    """An authority, and certificates of the server and of a client by it."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem")
    for name, subject_alternative_name in [("server", "DNS:localhost"), ("client", "URI:spiffe://example.com/dashboard")]:
        (folder / f"{name}.ext").write_text(f"subjectAltName={subject_alternative_name}")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    # HAProxy reads both from one file.
    (folder / "both.pem").write_text((folder / "server.pem").read_text() + (folder / "server.key").read_text())


class Caller(Queuegate):
    """A client over TLS, with a token or a certificate."""

    def __init__(self, port, token=None, certificate=None):
        read = lambda name: (folder / name).read_bytes()
        names = (read(f"{certificate}.key"), read(f"{certificate}.pem")) if certificate else ()
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), *names)
        if token:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        self.channel = grpc.secure_channel(f"localhost:{port}", credentials)
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))


def fragments(language):
    """The fragments of docs/proxies.md: the one that ends TLS, and the one that passes it through."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/proxies.md").read_text(), re.DOTALL)


def configured(proxy, fragment, port, server_port, metrics_port):
    """A whole configuration of the proxy, with the ports and files of this test."""
    changes = [
        ("443", str(port)),
        ("50051", str(server_port)),
        ("9464", str(metrics_port)),
        ("/etc/ssl/queuegate.pem", f"{folder}/server.pem"),
        ("/etc/ssl/queuegate.key", f"{folder}/server.key"),
        ("/etc/haproxy/queuegate.pem", f"{folder}/both.pem"),
    ]
    for documented, ours in changes:
        fragment = fragment.replace(documented, ours)
    path = folder / f"{proxy}.conf"
    if proxy == "nginx":
        module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        load = f"load_module {module};\n" if module.exists() else ""
        whole = fragment if fragment.startswith("stream") else f"http {{ access_log off; {fragment} }}"
        head = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n"
        path.write_text(load + head + whole)
        return ["nginx", "-c", str(path)]
    path.write_text(fragment)
    return ["haproxy", "-db", "-f", str(path)]


def reason(error):
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info)
    return info


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("an answer in place of an error")


def sign_in(caller, user, queue="sales"):
    request = {"user_id": user, "queue_id": queue, "channel": "CHANNEL_FEATURE_CODE"}
    return caller.call("QueueAccessService/SignIn", ACME | request)["decision"]["reason"]


def stranger(known, caller):
    """The caller, who can't ask for descriptors: HAProxy may turn the refusal of a streamed request into CANCELLED."""
    caller.pool = known.pool
    return caller


def works(caller):
    try:
        return bool(caller.call("DirectoryService/GetOrganization", ACME))
    except grpc.RpcError:
        return False


def next_event(watch):
    """The next message that is no checkpoint, and the number of checkpoints before it."""
    for checkpoints, message in enumerate(watch):
        if message["type"] != "WATCH_SESSIONS_TYPE_CHECKPOINT":
            return (message["type"].removeprefix("WATCH_SESSIONS_TYPE_"), message["session"]["user_id"]), checkpoints


def serve(server_port, metrics_port, *flags):
    listen = ["--listen", f"127.0.0.1:{server_port}", "--metrics-listen", f"127.0.0.1:{metrics_port}"]
    database = ["--database", str(folder / "test.db"), "--tokens", str(folder / "tokens.toml")]
    drain = ["--drain-delay", "3s", "--drain-deadline", "5s", "--log-format", "json"]
    return start(PROGRAM, "serve", *listen, *database, *drain, *flags, log="server.log")


def ends_tls(proxy, fragment, token):
    port, server_port, metrics_port = free_port(), free_port(), free_port()
    server = serve(server_port, metrics_port)
    running = start(*configured(proxy, fragment, port, server_port, metrics_port), log=f"{proxy}.log")
    caller = Caller(port, token)
    document = base64.b64encode((ROOT / "examples/acme.yaml").read_bytes()).decode()
    load = lambda: list(caller.call("DirectoryService/ImportDirectory", ACME | {"document": document}, timeout=10))
    until("the proxy reaches the server", lambda: not isinstance(attempt(load), grpc.RpcError))
    expect(f"{proxy}: an import and a list", len(caller.call("DirectoryService/ListUsers", ACME)["users"]), 6)
    expect(f"{proxy}: a sign-in", sign_in(caller, "anna"), "REASON_ASSIGNED")
    refused = failure(lambda: caller.call("DirectoryService/GetUser", ACME | {"user_id": "nobody"}))
    found = (refused.code(), reason(refused).reason)
    expect(f"{proxy}: an error with its details", found, (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"))
    refused = failure(lambda: stranger(caller, Caller(port, "qgt_wrong")).call("DirectoryService/ListUsers", ACME))
    expect(f"{proxy}: a wrong token is refused", refused.code(), grpc.StatusCode.UNAUTHENTICATED)

    watch = caller.call("QueueAccessService/WatchSessions", ACME, timeout=600)
    expect(f"{proxy}: a watch begins", next_event(watch)[0], ("INITIAL", "anna"))
    time.sleep(IDLE_S)
    sign_in(caller, "bo")
    event, checkpoints = next_event(watch)
    expect(f"{proxy}: the watch goes on after {IDLE_S} idle seconds", event, ("SIGNED_IN", "bo"))
    expect(f"{proxy}: it had a checkpoint every 30 seconds", checkpoints, 1 + IDLE_S // 30)

    server.send_signal(signal.SIGTERM)
    expect(f"{proxy}: a drain still serves calls", sign_in(caller, "cleo"), "REASON_UNASSIGNED_ALLOWED")
    expect(f"{proxy}: and the watch", next_event(watch)[0], ("SIGNED_IN", "cleo"))
    ended = failure(lambda: next_event(watch))
    expect(f"{proxy}: a drain ends the watch", (ended.code(), reason(ended).reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
    server.wait(PATIENCE_S)
    away = failure(lambda: caller.call("DirectoryService/ListUsers", ACME)).code()
    expect(f"{proxy}: without a server calls are UNAVAILABLE", away, grpc.StatusCode.UNAVAILABLE)
    server = serve(server_port, metrics_port)
    until("the server is back", lambda: works(caller))
    caller.call("QueueAccessService/SignOut", ACME | {"user_id": "bo", "all_queues": True})
    start_revision = {"start_revision": reason(ended).metadata["last_revision"]}
    watch = caller.call("QueueAccessService/WatchSessions", ACME | start_revision, timeout=60)
    expect(f"{proxy}: the watch resumes without a gap", next_event(watch)[0], ("SIGNED_OUT", "bo"))
    watch = None
    stop(running)
    stop(server)


def passes_tls_through(proxy, fragment):
    port, server_port, metrics_port = free_port(), free_port(), free_port()
    names = ["--tls-certificate", "server.pem", "--tls-key", "server.key", "--tls-client-ca", "ca.pem"]
    server = serve(server_port, metrics_port, *[name if name.startswith("-") else str(folder / name) for name in names])
    running = start(*configured(proxy, fragment, port, server_port, metrics_port), log=f"{proxy}.log")
    caller = Caller(port, certificate="client")
    until("the proxy reaches the server", lambda: works(caller))
    expect(f"{proxy}, TLS passed through: a sign-in", sign_in(caller, "bo", "support"), "REASON_ASSIGNED")
    event = caller.call("AuditService/ListAuditEvents", ACME | {"page_size": 1})["events"][0]
    expect(f"{proxy}, TLS passed through: the caller is known by certificate", event["caller"], "token:dashboard")
    refused = failure(lambda: stranger(caller, Caller(port)).call("DirectoryService/ListUsers", ACME))
    expect(f"{proxy}, TLS passed through: without one it is refused", refused.code(), grpc.StatusCode.UNAUTHENTICATED)
    watch = caller.call("QueueAccessService/WatchSessions", ACME, timeout=600)
    next_event(watch)
    time.sleep(IDLE_S)
    caller.call("QueueAccessService/SignOut", ACME | {"user_id": "bo", "all_queues": True})
    events = iter(lambda: next_event(watch)[0], None)
    event = next(event for event in events if event[0] != "INITIAL")
    expect(f"{proxy}, TLS passed through: a watch after {IDLE_S} idle seconds", event, ("SIGNED_OUT", "bo"))
    watch = None
    stop(running)
    stop(server)


def attempt(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error


def new_caller(name, *more):
    command = [PROGRAM, "token", "new", name, "--scope", "admin", "--tokens", str(folder / "tokens.toml"), *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main():
    make_certificates()
    token = new_caller("ops")
    new_caller("dashboard", "--certificate", "spiffe://example.com/dashboard")
    skipped = 0
    for proxy in PROXIES:
        if not shutil.which(proxy):
            print(f"{proxy}: skipped, it is not installed")
            skipped += 1
            continue
        ending, passing = fragments(proxy)
        ends_tls(proxy, ending, token)
        if proxy == "nginx" and not pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
            print("nginx, TLS passed through: skipped, the module `stream` is not installed")
            skipped += 1
        else:
            passes_tls_through(proxy, passing)
        for file in folder.glob("test.db*"):
            file.unlink()
    print(f"proxies: {passed} passed, 0 failed, {skipped} skipped")


try:
    main()
except BaseException:
    for log in folder.glob("*.log"):
        print(f"== {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
    raise
finally:
    for process in processes:
        process.kill()
    shutil.rmtree(folder)
