// A server with a console, and calls to it.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(`${process.env.MODULES}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const root = fileURLToPath(new URL("../..", import.meta.url));
const options = { includeDirs: [path.join(root, "proto")], keepCase: true, enums: String, longs: String, defaults: true };
const files = ["queue_access", "directory", "permission", "console"].map((name) => `queuegate/v1/${name}.proto`);
const { v1 } = grpc.loadPackageDefinition(loader.loadSync(files, options)).queuegate;

export const organization_id = "acme";
export const example = readFileSync(path.join(root, "examples/acme.yaml"));

async function freePort() {
  const listener = net.createServer();
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

export class Server {
  // Without a picker, people enter by links.
  static async start(name, { hasPicker = true } = {}) {
    const server = new Server();
    server.hasPicker = hasPicker;
    server.database = path.join(process.env.FOLDER, `${name}.db`);
    [server.port, server.consolePort] = [await freePort(), await freePort()];
    await server.begin();
    return server;
  }

  get console() {
    return `http://127.0.0.1:${this.consolePort}`;
  }

  async begin() {
    const address = `127.0.0.1:${this.port}`;
    const parameters = ["serve", "--listen", address, "--database", this.database, "--shed-delay", "1h"];
    parameters.push("--console-listen", `127.0.0.1:${this.consolePort}`);
    if (!this.hasPicker) parameters.push("--console-origin", this.console);
    this.process = spawn(process.env.QUEUEGATE, parameters, { stdio: ["ignore", "ignore", "inherit"], env: { PATH: process.env.PATH, QUEUEGATE_LOG: "error" } });
    const credentials = grpc.credentials.createInsecure();
    this.services = {
      queueAccess: new v1.QueueAccessService(address, credentials),
      directory: new v1.DirectoryService(address, credentials),
      permission: new v1.PermissionService(address, credentials),
      console: new v1.ConsoleService(address, credentials),
    };
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.call("directory", "ListOrganizations", {});
      } catch (error) {
        if (attempt > 300) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
    Object.values(this.services).forEach((service) => service.close());
  }

  call(service, method, request) {
    const deadline = Date.now() + 60_000;
    return new Promise((resolve, reject) => {
      this.services[service][method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  signIn(user_id, queue_id) {
    const channel = "CHANNEL_FEATURE_CODE";
    return this.call("queueAccess", "SignIn", { organization_id, user_id, queue_id, channel });
  }

  // A document in pieces, each below the limit of a message.
  importDocument(document, id = organization_id) {
    return new Promise((resolve, reject) => {
      const stream = this.services.directory.ImportDirectory();
      stream.on("data", () => {});
      stream.on("error", reject);
      stream.on("end", resolve);
      for (let start = 0; start < document.length; start += 1 << 20) {
        stream.write({ organization_id: start === 0 ? id : "", document: document.subarray(start, start + (1 << 20)) });
      }
      stream.end();
    });
  }
}
