// The console in a real browser. Each step prints its name; the first failure ends the run.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Server, example, organization_id } from "./server.mjs";

const require = createRequire(`${process.env.MODULES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const languages = ["en", "de", "it", "fr", "es", "pt", "nl"];
const pages = [
  "floor", "sign-in-agent?queue=sales", "why", "why?user=cleo&queue=sales", "permissions", "matrix", "matrix?user=sam&queue=sales",
  "people", "person?id=anna", "person?id=cleo", "queues", "queue?id=sales", "audit", "verify", "me", "nothing-here",
];
const parameters = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

let folders = 0;
const open = [];

// A browser of its own, with nothing from any other.
async function browser(settings = {}) {
  const folder = path.join(process.env.FOLDER, `browser-${folders++}`);
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM, headless: true, args: parameters, locale: "en-GB",
    viewport: { width: 1280, height: 800 }, ...settings,
  });
  open.push(context);
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => assert.fail(`a script failed: ${error}`));
  return { context, page };
}

async function enter(page, server, user) {
  await page.goto(`${server.console}/enter`);
  await page.locator(`input[name=user][value=${user}] + button`).click();
  await page.waitForURL(/\/(floor|me)$/);
}

async function hasNoFaults(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const faults = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(faults, [], where);
}

async function isLive(page) {
  await page.waitForSelector("#live.up");
}

const steps = {
  async "a sign-in appears on another browser's floor within a second"({ server }) {
    const [acting, watching] = [await browser(), await browser()];
    await enter(acting.page, server, "sam");
    await enter(watching.page, server, "petra");
    await isLive(watching.page);
    await acting.page.goto(`${server.console}/sign-in-agent?queue=sales`);
    await acting.page.locator("input[name=user][value=cleo]").check();
    const answered = acting.page.waitForResponse((response) => response.request().method() === "POST");
    await acting.page.locator("form.sign-in button.primary").click();
    await answered;
    const began = performance.now();
    await watching.page.getByText("Cleo Martin").waitFor();
    const took = Math.round(performance.now() - began);
    console.log(`  it took ${took} ms`);
    assert.ok(took < 1_000);
    await watching.page.locator("#out-sales-cleo").click();
    await acting.page.getByText("Cleo Martin").waitFor({ state: "detached" });
  },

  async "a temporary session counts down to zero and goes"({ server }) {
    const { page } = await browser();
    await enter(page, server, "petra");
    await isLive(page);
    await server.call("queueAccess", "SupervisorSignIn", {
      organization_id, supervisor_id: "sam", user_id: "cleo", queue_id: "sales", ttl: { seconds: 4 },
    });
    const left = page.locator("#queue-sales [data-ends]");
    await left.waitFor();
    const first = await left.textContent();
    assert.match(first, /^0:00:0[1-4] left$/);
    await page.waitForFunction((text) => document.querySelector("#queue-sales [data-ends]")?.textContent !== text, first);
    await page.getByText("Cleo Martin").waitFor({ state: "detached" });
  },

  async "an open floor survives a restart of the server"({ server }) {
    const { page } = await browser();
    await enter(page, server, "petra");
    await isLive(page);
    await server.stop();
    await page.locator("#live.down").waitFor();
    assert.match(await page.locator("#live").textContent(), /^No connection since/);
    await server.begin();
    // The sessions of people end with the server, and the page says so.
    await page.getByText("You were signed out of the console.").waitFor();
    await page.reload();
    await page.waitForURL(/enter$/);
    await enter(page, server, "petra");
    await isLive(page);
  },

  async "a person who was disabled sees that the session has ended"({ server }) {
    const { page } = await browser();
    await server.importDocument(Buffer.from("users:\n  - { user_id: gone, display_name: Gone, contact_center_license: true, supervisor_of: [sales] }\n"));
    await enter(page, server, "gone");
    await isLive(page);
    await server.call("directory", "UpdateUser", { organization_id, user: { user_id: "gone", disabled: true }, update_mask: { paths: ["disabled"] } });
    await page.getByText("You were signed out of the console.").waitFor();
  },

  async "everything is reached with the keyboard alone"({ server }) {
    const { page } = await browser();
    await enter(page, server, "sam");
    await server.signIn("anna", "sales");
    await page.locator("#out-sales-anna").waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    const reached = async (id) => {
      for (let key = 0; key < 40; key++) {
        if ((await page.evaluate(() => document.activeElement.id)) === id) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`the keyboard doesn't reach ${id}`);
    };
    await reached("out-sales-anna");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none");
    // A change of the queue leaves the focus where it was.
    await server.signIn("bo", "sales");
    await page.getByText("Bo Lindqvist").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "out-sales-anna");
    await page.keyboard.press("Enter");
    await page.getByText("Anna Berg").waitFor({ state: "detached" });
    await reached("in-sales");
    await page.keyboard.press("Enter");
    await page.waitForURL(/sign-in-agent/);
  },

  async "a stale form shows both versions"({ server }) {
    const [one, other] = [await browser(), await browser()];
    for (const { page } of [one, other]) {
      await enter(page, server, "petra");
      await page.goto(`${server.console}/permissions`);
    }
    const save = async (page) => {
      await page.locator("button.primary").click();
      await page.waitForURL(/preview/);
      await hasNoFaults(page, "the preview");
      await page.locator("form[action=permissions] button.primary").click();
    };
    await one.page.locator("input[value=restricted]").check();
    await save(one.page);
    await one.page.getByText("The settings are saved.").waitFor();
    await other.page.locator("input[name='supervisor.view_skills']").check();
    await other.page.locator("button.primary").click();
    await other.page.getByText("Somebody changed the settings").waitFor();
    assert.equal(await other.page.locator("tbody tr").count(), 2);
    await hasNoFaults(other.page, "both versions");
    await other.page.getByRole("link", { name: "Keep the present settings" }).click();
    assert.ok(await other.page.locator("input[value=restricted]").isChecked());
  },

  async "the back button shows nothing after leaving"({ server }) {
    const { page } = await browser();
    await enter(page, server, "petra");
    await page.goto(`${server.console}/people`);
    await page.locator("form[action=leave] button").click();
    await page.waitForURL(/enter$/);
    await page.goBack();
    await page.waitForURL(/enter$/);
  },

  async "light and dark, and the person's choice"({ server }) {
    const { page } = await browser({ colorScheme: "dark" });
    await enter(page, server, "petra");
    const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await colour();
    await page.goto(`${server.console}/me`);
    await page.locator("select[name=theme]").selectOption("light");
    await page.locator("select[name=language]").selectOption("it");
    await page.locator("form[action=choose] button").click();
    await page.getByText("I miei accessi").waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "it");
    assert.notEqual(await colour(), dark);
  },

  async "no page of any language has a fault that axe-core finds, and none is wider than a phone"({ server }) {
    // Petra has a session, so that her own page lists one.
    const petra = { organization_id, user_id: "petra" };
    await server.call("queueAccess", "SupervisorSignIn", { ...petra, supervisor_id: "petra", queue_id: "sales" });
    for (const colorScheme of ["light", "dark"]) {
      const { page } = await browser({ colorScheme, viewport: { width: 390, height: 844 } });
      await enter(page, server, "petra");
      for (const language of languages) {
        await page.context().addCookies([{ name: "queuegate_language", value: language, url: server.console }]);
        for (const address of pages) {
          await page.goto(`${server.console}/${address}`);
          await hasNoFaults(page, `${address} ${language} ${colorScheme}`);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(wide <= 0, `${address} ${language} is ${wide} pixels too wide`);
        }
        // Dark differs in its colours alone.
        if (colorScheme === "dark") break;
      }
    }
    await server.call("queueAccess", "SignOut", { ...petra, all_queues: true });
  },

  async "a big organization is paged, and its first bytes come soon"() {
    const server = await Server.start("big");
    const [queues, users, each] = [2_000, 2_000, 10];
    const lines = ["organization: { organization_id: acme, display_name: Big }", "queues:"];
    for (let queue = 0; queue < queues; queue++) lines.push(`  - { queue_id: q${queue}, display_name: Queue ${queue}, kind: CALL_QUEUE }`);
    lines.push("users:", "  - { user_id: petra, display_name: Petra, contact_center_license: true, roles: [CONTACT_ADMIN] }");
    for (let user = 0; user < users; user++) {
      const own = Array.from({ length: each }, (_, index) => `q${(user + index * 200) % queues}`);
      lines.push(`  - { user_id: u${user}, display_name: Agent ${user}, contact_center_license: true, agent_of: [${own}] }`);
    }
    await server.importDocument(Buffer.from(lines.join("\n")));
    const signIn = (user) => server.call("queueAccess", "SignIn", {
      organization_id, user_id: `u${user}`, all_assigned_queues: true, channel: "CHANNEL_FEATURE_CODE",
    });
    for (let user = 0; user < users; user += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => signIn(user + index)));
    }
    const { page } = await browser();
    await enter(page, server, "petra");
    const firstBytes = async (address) => {
      const times = [];
      for (let attempt = 0; attempt < 5; attempt++) {
        await page.goto(`${server.console}/${address}`);
        times.push(await page.evaluate(() => {
          const [entry] = performance.getEntriesByType("navigation");
          return entry.responseStart - entry.requestStart;
        }));
      }
      return Math.round(times.sort((a, b) => a - b)[2]);
    };
    const [floor, least] = [await firstBytes("floor"), await firstBytes("enter?link=none")];
    console.log(`  first bytes of the floor after ${floor} ms, of a page without content after ${least} ms`);
    await page.goto(`${server.console}/floor`);
    await isLive(page);
    assert.equal(await page.locator("section.queue").count(), 50);
    assert.equal(await page.locator(".totals dd").first().textContent(), String(users * each));
    await page.getByRole("link", { name: "Next page" }).click();
    await page.getByText("Page 2 of 40").waitFor();
    await server.stop();
  },
};

// Pictures for the documents. Each is below 200 KB.
async function pictures() {
  const server = await Server.start("pictures", { hasPicker: false });
  await server.importDocument(example);
  const { page } = await browser({ viewport: { width: 1200, height: 720 }, colorScheme: "light" });
  const { link } = await server.call("console", "CreateConsoleLink", { organization_id, user_id: "petra" });
  await page.goto(link);
  await page.locator("button.primary").click();
  await page.waitForURL(/floor$/);
  await server.signIn("bo", "sales");
  await server.signIn("anna", "sales");
  await server.signIn("bo", "support");
  await server.call("permission", "UpdatePermissionSettings", {
    organization_id, settings: { organization: { unassigned_queue_sign_in: "UNASSIGNED_QUEUE_SIGN_IN_RESTRICTED" } },
  });
  await server.call("queueAccess", "SupervisorSignIn", {
    organization_id, supervisor_id: "sam", user_id: "cleo", queue_id: "sales", ttl: { seconds: 8 * 3600 }, justification: "peak hours",
  });
  for (const [name, address] of [["floor", "floor"], ["why", "why?user=cleo&queue=support"], ["permissions", "permissions"]]) {
    await page.goto(`${server.console}/${address}`);
    if (name === "floor") await isLive(page);
    const file = fileURLToPath(new URL(`../../docs/pictures/${name}.png`, import.meta.url));
    await page.screenshot({ path: file });
    assert.ok(statSync(file).size < 200_000, `${file} is too large`);
  }
  await server.stop();
}

const server = await Server.start("acme");
try {
  await server.importDocument(example);
  if (process.argv.includes("--pictures")) {
    await pictures();
  } else {
    for (const [name, step] of Object.entries(steps)) {
      console.log(name);
      await step({ server });
      await Promise.all(open.splice(0).map((context) => context.close()));
    }
    console.log(`browser: ${Object.keys(steps).length} passed`);
  }
} finally {
  await Promise.all(open.map((context) => context.close().catch(() => {})));
  await server.stop();
}
