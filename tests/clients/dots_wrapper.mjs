// Drives dots-wrapper, as it comes from npm, through tidegate.
//
// From the environment:
//
//     TIDEGATE_URL      where tidegate listens, such as http://127.0.0.1:8080
//     TOKEN_FULL        a sub-token that may read Droplets and write TXT records in example.com
//     TOKEN_READ        a sub-token that may read Droplets, and no more
//     PER_PAGE          Droplets asked for at a time (2); fewer than there are, so that there is a second page
//     TIDEGATE_CLIENTS  the directory that `install` filled (target/clients)
//
// Each step prints one line of JSON on standard output. Exits 0 only if all went as written here.

import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const url = required("TIDEGATE_URL").replace(/\/+$/, "");
const perPage = Number(process.env.PER_PAGE ?? "2");
const clients = process.env.TIDEGATE_CLIENTS ?? fileURLToPath(new URL("../../target/clients", import.meta.url));

const { createApiClient } = createRequire(path.resolve(clients, "package.json"))("dots-wrapper");

async function main() {
  const full = clientWith(required("TOKEN_FULL"));
  const read = clientWith(required("TOKEN_READ"));

  const [first] = await listDroplets(full);
  await getDroplet(full, first);

  const record = await createRecord(full);
  await deleteRecord(full, record);

  await beRefused(read, first);
}

function clientWith(token) {
  return createApiClient({ endpoint: `${url}/v2`, token, requestTimeoutInMs: 30_000 });
}

// The library has no paging of its own: one asks for page after page while there is a next one.
async function listDroplets(client) {
  const droplets = [];
  const links = [];
  let total;
  for (let page = 1, next = true; next; page += 1) {
    const { data } = await client.droplet.listDroplets({ page, per_page: perPage });
    droplets.push(...data.droplets);
    total = data.meta.total;
    next = data.links.pages?.next;
    if (next) links.push(next);
  }
  const ids = droplets.map(({ id }) => id);
  tell("list", { count: ids.length, total, ids, names: droplets.map(({ name }) => name), next: links });
  expect(ids.length > perPage, `more than the ${perPage} Droplets of one page; got ${ids.length}, set PER_PAGE lower`);
  expect(new Set(ids).size === ids.length, `each Droplet once; got ${ids}`);
  return droplets;
}

async function getDroplet(client, listed) {
  const { data: { droplet } } = await client.droplet.getDroplet({ droplet_id: listed.id });
  tell("get", { id: droplet.id, name: droplet.name, status: droplet.status });
  expect(droplet.id === listed.id && droplet.name === listed.name, `the Droplet listed as ${listed.id}`);
}

async function createRecord(client) {
  const { status, data: { domain_record: record } } = await client.domain.createDomainRecord({
    domain_name: "example.com", type: "TXT", name: "_acme-challenge", data: "from-dots-wrapper", ttl: 30,
  });
  tell("create_record", { status, id: record.id, type: record.type, name: record.name, data: record.data });
  expect(status === 201 && record.type === "TXT" && record.name === "_acme-challenge", "the record that was asked for");
  return record;
}

async function deleteRecord(client, { id }) {
  const { status } = await client.domain.deleteDomainRecord({ domain_name: "example.com", domain_record_id: id });
  tell("delete_record", { id, status, deleted: status === 204 });
  expect(status === 204, `204; got ${status}`);
}

// The library's own message has the status alone; what the API said is in the answer that the error carries.
async function beRefused(client, { id }) {
  const refusal = await client.droplet.deleteDroplet({ droplet_id: id }).then(() => null, (error) => error);
  expect(refusal !== null, "TOKEN_READ to be refused the deletion of a Droplet");
  if (!refusal.response) throw refusal;
  const { status, data: body, headers } = refusal.response;
  tell("refused", {
    id, error: refusal.name, message: refusal.message, status, body, reason: headers["tidegate-reason"] ?? null,
  });
  expect(status === 403 && body.message, `403 with a message; got ${status}`);
}

function required(name) {
  const value = process.env[name];
  expect(value, `${name} in the environment`);
  return value;
}

function tell(step, facts) {
  console.log(JSON.stringify({ step, ...facts }));
}

function expect(held, what) {
  if (!held) throw new Error(`expected ${what}`);
}

// An error of axios holds the request with its Authorization header: only its message is shown.
main().catch((error) => {
  console.error(`dots_wrapper.mjs: ${error.message}`);
  process.exitCode = 1;
});
