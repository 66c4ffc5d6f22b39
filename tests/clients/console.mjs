// Drives the console in Debian's Chromium, as somebody does to whom a sub-token was leaked: by the keyboard from signing in to
// ending it, and looks at every page in light, in the dark and as wide as a telephone.
//
// From the environment:
//
//     CONSOLE_URL       where the console is, such as http://127.0.0.1:9090
//     API_URL           where clients come in
//     TOKEN_OPERATOR    a sub-token that may see and revoke, issue and rotate
//     TOKEN_LEAKED      a sub-token that was used
//     CHROMIUM          the browser (/usr/bin/chromium)
//     SCREENSHOTS       a directory to put pictures of all pages into; without it there are none
//     TIDEGATE_CLIENTS  the directory that `install` filled (target/clients)
//
// Each step prints one line of JSON on standard output. Exits 0 only if all went as written here.

import { createRequire } from "node:module";
import { strict as assert } from "node:assert";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import fs from "node:fs";

const url = required("CONSOLE_URL").replace(/\/+$/, "");
const api = required("API_URL").replace(/\/+$/, "");
const leaked = required("TOKEN_LEAKED");
const id = leaked.split("_")[2];
const clients = process.env.TIDEGATE_CLIENTS ?? fileURLToPath(new URL("../../target/clients", import.meta.url));
const from = createRequire(path.resolve(clients, "package.json"));
const { chromium } = from("playwright-core");
const axe = fs.readFileSync(from.resolve("axe-core/axe.min.js"), "utf8");

const PAGES = ["/", "/tokens", `/tokens/${id}`, "/tokens/new", "/refusals", "/roles", "/roles/reader", "/ask", `/ask?token=${id}&method=GET&path=/v2/volumes`, "/live", "/records", `/records?token=${id}&before=1h`, "/check", "/diff", "/unused", "/tokens/revoke", "/tokens/revoke?owner=alice"];
const VIEWS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "narrow", colorScheme: "light", viewport: { width: 380, height: 800 } },
];

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    for (const view of VIEWS) await look(browser, view);
    await end(browser);
  } finally {
    await browser.close();
  }
}

// A page that is open, whose every request and every complaint of the browser is held against what may be.
async function open(browser, options) {
  // What axe needs to be put into a page is what the console's policy forbids: it is let in for the test, and the policy of what
  // is served is looked at elsewhere.
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  const page = await context.newPage();
  page.on("request", (request) => assert.ok(request.url().startsWith(url + "/"), `a request left the console: ${request.url()}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("401")) failed(`the browser says: ${message.text()}`);
  });
  page.on("pageerror", (error) => failed(`a script failed: ${error}`));
  return page;
}

// By the keyboard alone: the field has the focus, which a browser gives it only once the page is drawn.
async function signIn(page) {
  await page.goto(url + "/tokens");
  assert.equal(new URL(page.url()).pathname, "/sign-in");
  await page.waitForFunction(() => document.activeElement?.id === "token");
  await page.keyboard.type(required("TOKEN_OPERATOR"));
  await page.keyboard.press("Enter");
  await page.waitForURL(url + "/tokens");
}

async function look(browser, { name, ...options }) {
  const page = await open(browser, { bypassCSP: true, ...options });
  await page.goto(url + "/sign-in");
  await check(page, name, "/sign-in");
  await signIn(page);
  for (const target of PAGES) {
    await page.goto(url + target);
    await check(page, name, target);
  }
  await compare(page, name);
  await page.context().close();
  tell("look", { view: name, pages: PAGES.length + 1 });
}

// A policy is pasted and compared with the one in force.
async function compare(page, view) {
  await page.goto(url + "/diff");
  await page.locator("textarea").focus();
  await page.keyboard.insertText("version: 1\nroles:\n  reader: { allow: [{ scopes: ['droplet:read', 'block_storage:read'] }] }\n");
  for (let tabs = 0; !(await page.locator("main button[type=submit]").evaluate((button) => button === document.activeElement)); tabs++) {
    assert.ok(tabs < 9, "the button is reached by the keyboard");
    await page.keyboard.press("Tab");
  }
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  assert.ok((await page.textContent("main")).includes("newly allowed"), "what it would allow");
  await check(page, view, "/compared");
}

async function check(page, view, target) {
  const file = target.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "") || "overview";
  if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${view}-${file}.png`), fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${view} ${target} is ${wide} px too wide`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
  assert.deepEqual(found, [], `${view} ${target}`);
}

// From what leaked to its end, by the keyboard.
async function end(browser) {
  const page = await open(browser, { viewport: { width: 1280, height: 900 } });
  await signIn(page);
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type(leaked);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${url}/tokens/${id}`);
  assert.ok((await page.textContent("main")).includes("/v2/droplets"), "what it did");
  const time = await page.locator("time").first();
  assert.match(await time.getAttribute("title"), / UTC$/, "UTC stands beside the viewer's zone");
  assert.equal(await used(), 200);
  await page.locator("summary", { hasText: "Revoke" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const began = Date.now();
  await page.keyboard.press("Enter");
  let refused = 0;
  while ((refused = await used()) !== 401) assert.ok(Date.now() - began < 1500, "it is refused within a second");
  const took = Date.now() - began;
  await page.waitForSelector(".badge:has-text('revoked')");
  await page.goto(url + "/live");
  await page.waitForFunction(() => document.getElementById("live-state").textContent.includes("as they come"));
  const before = await page.locator("#live tbody tr").count();
  await used();
  await page.waitForFunction((count) => document.querySelectorAll("#live tbody tr").length > count, before);
  tell("end", { took });
}

async function used() {
  const answer = await fetch(`${api}/v2/droplets`, { headers: { authorization: `Bearer ${leaked}` } });
  await answer.arrayBuffer();
  return answer.status;
}

function required(name) {
  const value = process.env[name];
  if (!value) failed(`${name} is not set`);
  return value;
}

function tell(step, what) {
  console.log(JSON.stringify({ step, ...what }));
}

function failed(why) {
  console.error(why);
  process.exit(1);
}

await main();
