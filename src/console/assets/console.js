"use strict";

// Times are written in UTC; here they are told in the viewer's zone, with UTC in the title.
function tellTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (time.title || Number.isNaN(at.getTime())) continue;
    time.title = time.textContent.trim();
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

// Buttons that copy what stands in an element.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  });
}

// Lines of the record as they come. Whatever a line holds goes into the page as text.
function follow(live) {
  const state = document.getElementById("live-state");
  const stop = document.getElementById("live-stop");
  const wrap = live.querySelector("table");
  const most = 500;
  let passedOver = 0;
  let source = null;

  function body() {
    if (wrap) return wrap.tBodies[0];
    const found = live.querySelector("tbody");
    if (found) return found;
    const table = document.createElement("table");
    table.className = "stack";
    const head = table.createTHead().insertRow();
    for (const name of names) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    live.replaceChildren(table);
    return table.createTBody();
  }

  const names = ["When", "Sub-token", "From", "Request", "Decision", "What and why", "Status"];

  function add(row, name, content) {
    const cell = row.insertCell();
    cell.dataset.name = name;
    cell.append(content);
    return cell;
  }

  function code(text) {
    const element = document.createElement("code");
    element.textContent = text;
    return element;
  }

  function show(record) {
    const row = body().insertRow(0);
    const time = document.createElement("time");
    time.dateTime = record.time;
    time.textContent = record.time.slice(0, 19).replace("T", " ") + " UTC";
    add(row, "When", time).className = "time";
    const token = record.token || {};
    if (token.id) {
      const link = document.createElement("a");
      link.href = "/tokens/" + encodeURIComponent(token.id);
      link.textContent = token.name;
      add(row, "Sub-token", link);
    } else {
      add(row, "Sub-token", "–");
    }
    add(row, "From", code(record.client_ip || "")).className = "from";
    add(row, "Request", record.path ? code(record.method + " " + record.path) : record.event);
    const badge = document.createElement("span");
    const refused = record.decision === "deny";
    badge.className = "badge " + (refused ? "bad" : "good");
    badge.textContent = refused ? "refused" : "allowed";
    add(row, "Decision", badge);
    add(row, "Why", [record.reason, record.detail].filter(Boolean).join(": "));
    add(row, "Status", String(record.status ?? "–")).className = "number";
    tellTimes(row);
    const rows = body();
    while (rows.rows.length > most) rows.deleteRow(-1);
  }

  function tell(text) {
    const more = passedOver ? ` ${passedOver} lines were passed over, as they came too fast to be shown.` : "";
    state.textContent = text + more;
  }

  function start() {
    source = new EventSource(live.dataset.live + location.search);
    source.addEventListener("open", () => tell("Lines are shown as they come."));
    source.addEventListener("record", (event) => show(JSON.parse(event.data)));
    source.addEventListener("thinned", (event) => {
      passedOver += JSON.parse(event.data).passed_over;
      tell("Lines are shown as they come.");
    });
    source.addEventListener("error", () => tell("The connection is lost; it is tried again. If your session has ended, sign in again."));
    stop.textContent = "Pause";
  }

  stop.hidden = false;
  stop.addEventListener("click", () => {
    if (source) {
      source.close();
      source = null;
      stop.textContent = "Go on";
      tell("Paused.");
    } else {
      start();
    }
  });
  start();
}

tellTimes(document);
const live = document.getElementById("live");
if (live) follow(live);
