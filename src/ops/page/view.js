// Shows everything but the counts. Text goes in as text, never as markup; what has not changed is not touched, so a
// selection stays. Ages run on between two answers, by the server's clock.

const el = (id) => document.getElementById(id);
const clock = { server: Date.now(), wall: Date.now(), steady: performance.now() };

// The server's time. Of the two clocks here one stands still while the machine sleeps, and one may be set.
function serverNow() {
  return clock.server + Math.max(0, Date.now() - clock.wall, performance.now() - clock.steady);
}

// A name may be broken after its underscores. What the API leaves out is none.
function put(node, text = NONE) {
  if (node.textContent === text) return;
  const parts = text.split(/(?<=_)/);
  node.replaceChildren(...parts.flatMap((part, index) => (index > 0 ? [document.createElement("wbr"), part] : [part])));
}

function show(node, is) {
  if (node.hidden === is) node.hidden = !is;
}

function badge(node, text, kind) {
  put(node, text);
  node.classList.remove("good", "bad", "doubtful", "plain");
  node.classList.add(kind);
}

function time(node, ms) {
  put(node, ms === null ? NONE : clockTime(ms));
  if (ms !== null) node.dateTime = node.title = new Date(ms).toISOString();
}

// From now on the node tells the age of this moment: without one, nothing.
function since(node, ms, none = "") {
  if (ms === null) {
    delete node.dataset.since;
    put(node, none);
  } else {
    node.dataset.since = ms;
  }
}

// From now on the node tells how long it is until this moment.
function until(node, ms, none = "") {
  if (ms === null) {
    delete node.dataset.until;
    put(node, none);
  } else {
    node.dataset.until = ms;
  }
}

function tick() {
  const now = serverNow();
  const framed = (node, ms) => put(node, (node.dataset.before ?? "") + age(ms) + (node.dataset.after ?? ""));
  for (const node of document.querySelectorAll("[data-since]")) framed(node, now - node.dataset.since);
  for (const node of document.querySelectorAll("[data-until]")) framed(node, node.dataset.until - now);
}

// As many children as there are items, made from the template, each shown by `fill`.
function fillList(parent, template, items, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(template.content.firstElementChild.cloneNode(true));
  items.forEach((item, index) => fill(parent.children[index], item));
}

// A table's cells tell the name of their column where there is no room for a head.
for (const row of document.querySelectorAll("template")) {
  const cells = row.content.querySelectorAll("td");
  const heads = el(row.id === "count-row" ? "counts" : "collections").closest("table").querySelectorAll("th");
  const skipped = heads.length - cells.length;
  cells.forEach((cell, index) => (cell.dataset.head = heads[index + skipped].textContent));
}

const LEASE_KINDS = { HELD: "good", FREE: "doubtful", QUARANTINED: "doubtful", UNKNOWN: "bad" };

let seenLease = null;

function leaseLine(state, holder) {
  if (state === "HELD") return `by ${holder}`;
  const last = holder ? `; the last holder was ${holder}` : "";
  if (state === "FREE") return `nobody holds it${last}`;
  if (state === "QUARANTINED") return `nobody new is let in yet${last}`;
  return holder ? `the store is out of reach; last seen: ${holder}` : "the store was never reached";
}

function showLease(lease, instance) {
  const state = (lease.state ?? "STATE_UNKNOWN").slice("STATE_".length);
  const [acquired, renewed, seen] = [lease.acquireTime, lease.renewTime, lease.observeTime].map(moment);
  badge(el("lease-state"), state, LEASE_KINDS[state] ?? "bad");
  put(el("lease-line"), leaseLine(state, lease.holderId));
  put(el("lease-epoch"), lease.epoch);
  time(el("lease-since"), acquired);
  since(el("lease-since-age"), state === "HELD" ? acquired : null);
  since(el("lease-renewed"), renewed, NONE);
  const isQuarantined = state === "QUARANTINED";
  const left = span(isQuarantined ? lease.quarantineRemainingDuration : lease.remainingDuration);
  put(el("lease-left-title"), isQuarantined ? "Opens" : "Ends");
  until(el("lease-left"), seen !== null && left !== null && state !== "FREE" ? seen + left : null, NONE);
  put(el("lease-left-note"), state === "HELD" ? "unless renewed" : "");
  since(el("lease-seen"), seen, "never");
  put(el("lease-address"), lease.holderAddress);
  put(el("lease-error"), instance.error ? `${reason(instance.error)}: ${instance.error.message}` : "");
  document.title = `${state}${state === "HELD" ? ` by ${lease.holderId}` : ""} · rowcount`;
  // Only a change is news to whoever listens to the page.
  const line = `The lease: ${state} ${leaseLine(state, lease.holderId)}`;
  if (seenLease !== null && seenLease !== line) put(el("news"), line);
  seenLease = line;
}

function showInstance(instance, build, readTime) {
  const role = word(instance.role, "ROLE_");
  badge(el("instance-role"), role, role === "holder" ? "good" : "plain");
  put(el("instance-id"), instance.instanceId);
  time(el("instance-start"), moment(instance.startTime));
  since(el("instance-start-age"), moment(instance.startTime));
  until(el("instance-left"), moment(instance.deadlineTime), "no: it does not hold the lease");
  put(el("instance-wins"), `${integer(instance.acquireCount ?? "0")} ${instance.acquireCount === "1" ? "time" : "times"}`);
  since(el("board-heard"), moment(readTime), "never");
  put(el("version"), build.revision === "unknown" ? build.version : `${build.version} (${build.revision})`);
}

function showParts(parts) {
  fillList(el("parts"), el("part-item"), parts, (item, { name, ok, detail }) => {
    badge(item.querySelector(".badge"), ok ? "ok" : "failed", ok ? "good" : "bad");
    put(item.querySelector(".name"), name);
    put(item.querySelector(".detail"), detail);
  });
}

const COLLECTION_KINDS = { succeeded: "good", "partially succeeded": "doubtful", failed: "bad", cancelled: "doubtful" };

function showCollections(collections) {
  fillList(el("collections"), el("collection-row"), collections, (row, one) => {
    const cell = (name) => row.querySelector(`.${name}`);
    const state = word(one.state, "STATE_");
    const [began, ended] = [one.startTime, one.endTime].map(moment);
    badge(cell("state"), state, COLLECTION_KINDS[state] ?? "plain");
    put(cell("trigger"), word(one.trigger, "TRIGGER_"));
    time(cell("began"), began);
    since(cell("began-age"), began);
    put(cell("took"), began !== null && ended !== null ? took(ended - began) : NONE);
    put(cell("instance"), one.instanceId);
    put(cell("size"), NUMBER.format(one.queryNames?.length ?? 0));
    const error = one.error ? `${reason(one.error)}: ${one.error.message}` : "";
    put(cell("failed"), [error, (one.failedQueryNames ?? []).join(", ")].filter(Boolean).join("; ") || "none");
  });
}
