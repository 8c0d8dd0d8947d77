// The story of tests/clients/README.md with @grpc/grpc-js, which loads the .proto files: node story.js ADDRESS ORGANIZATION.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const [address, organization_id] = process.argv.slice(2);
const files = ["queue_access", "directory", "permission"].map((name) => `queuegate/v1/${name}.proto`);
const options = {
  includeDirs: [path.join(__dirname, "../../../proto")],
  keepCase: true,
  enums: String,
  longs: String,
  defaults: true,
  oneofs: true,
};
const { v1 } = grpc.loadPackageDefinition(loader.loadSync(files, options)).queuegate;

// The standard error details, as in google/rpc/error_details.proto.
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
`, { keepCase: true });

const connect = (service) => new v1[service](address, grpc.credentials.createInsecure());
const directory = connect("DirectoryService");
const permission = connect("PermissionService");
const access = connect("QueueAccessService");

function call(client, method, request, timeoutMs = 5000) {
  return new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + timeoutMs);
    const answered = (error, answer) => (error ? reject(error) : resolve(answer));
    client[method]({ organization_id, ...request }, { deadline }, answered);
  });
}

async function failure(client, method, request, timeoutMs) {
  return call(client, method, request, timeoutMs).then(
    () => assert.fail(`${method} succeeded`),
    (error) => error,
  );
}

function details(error) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const found = {};
  for (const any of root.lookupType("Status").decode(bytes).details) {
    const name = any.type_url.split(".").pop();
    const type = root.get(name);
    if (type) found[name] = type.decode(any.value);
  }
  return found;
}

let passed = 0;
function expect(rule, found, wanted) {
  assert.deepEqual(found, wanted, rule);
  console.log(`ok: ${rule}`);
  passed += 1;
}

const on_sales = (user_id) => ({ user_id, queue_id: "sales" });
const sign_in = (user_id) => call(access, "SignIn", { ...on_sales(user_id), channel: "CHANNEL_FEATURE_CODE" });

// The first messages of a watch on a connection of its own, which is then cut.
function watched(start_revision, count) {
  const client = connect("QueueAccessService");
  const stream = client.WatchSessions({ organization_id, start_revision });
  const messages = [];
  return new Promise((resolve, reject) => {
    stream.on("data", (message) => {
      messages.push(message);
      if (messages.length === count) {
        stream.cancel();
        client.close();
        resolve(messages);
      }
    });
    stream.on("error", (error) => {
      if (error.code !== grpc.status.CANCELLED) reject(error);
    });
  });
}

async function main() {
  const organization = { organization_id, display_name: "Loaded" };
  const unassigned_queue_sign_in = "UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED";
  const created = await call(directory, "CreateOrganization", { organization, unassigned_queue_sign_in });
  expect("an organization is created", created.organization.display_name, "Loaded");
  const queue = { queue_id: "sales", extension: "801", kind: "QUEUE_KIND_CALL_QUEUE" };
  await call(directory, "CreateQueue", { queue });
  for (const user_id of ["ann", "bob"]) {
    await call(directory, "CreateUser", { user: { user_id } });
  }
  const { users } = await call(directory, "ListUsers", {});
  expect("its users are listed", users.map((user) => user.user_id), ["ann", "bob"]);

  const denied = await sign_in("ann");
  expect("a sign-in is denied", denied.decision.reason, "REASON_UNASSIGNED_RESTRICTED");
  expect("a denial has no session", [denied.decision.allowed, denied.session], [false, null]);
  const settings = { organization: { unassigned_queue_sign_in: "UNASSIGNED_QUEUE_SIGN_IN_ALLOWED" } };
  await call(permission, "UpdatePermissionSettings", { settings });
  const signed_in = await sign_in("ann");
  expect("after a change of policy it is allowed", signed_in.decision.allowed, true);
  expect("a session was created", signed_in.created, true);

  const [initial, checkpoint] = await watched("", 2);
  expect("a watch begins with the live sessions", initial.session.session_id, signed_in.session.session_id);
  expect("then it sends a checkpoint", checkpoint.type, "WATCH_SESSIONS_TYPE_CHECKPOINT");
  await sign_in("bob");
  const { ended_sessions } = await call(access, "SignOut", on_sales("ann"));
  expect("a user signs out", ended_sessions.map((session) => session.user_id), ["ann"]);
  const events = (await watched(checkpoint.revision, 2)).map((message) => [message.type, message.session.user_id]);
  const missed = [["WATCH_SESSIONS_TYPE_SIGNED_IN", "bob"], ["WATCH_SESSIONS_TYPE_SIGNED_OUT", "ann"]];
  expect("a watch that was cut resumes without a gap", events, missed);

  const [store, epoch, sequence] = checkpoint.revision.split("-");
  const at_least_revision = [store, epoch, (BigInt(`0x${sequence}`) + 1000n).toString(16).padStart(16, "0")].join("-");
  const late = await failure(directory, "GetOrganization", { at_least_revision }, 300);
  expect("a deadline ends a call", late.code, grpc.status.DEADLINE_EXCEEDED);

  const malformed = await failure(directory, "CreateUser", { user: { user_id: "Not an id", extension: "x" } });
  const { ErrorInfo, BadRequest } = details(malformed);
  expect("an error has its reason", [malformed.code, ErrorInfo.reason], [grpc.status.INVALID_ARGUMENT, "INVALID_FIELD"]);
  const fields = BadRequest.field_violations.map((violation) => violation.field);
  expect("and names every bad field", fields, ["user.user_id", "user.extension"]);
  console.log(`node: ${passed} passed, 0 failed`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
