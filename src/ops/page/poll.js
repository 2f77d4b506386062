// Asks for the status every two seconds while somebody looks, less often while nobody answers, and for a token when it
// is refused without one.

const EVERY = 2_000;
const LONGEST = 30_000;
const PATIENCE = 10_000;
const KEY = "rowcount-token";

let token = null;
let delay = EVERY;
let timer = 0;
let asking = null;
let troubleSince = null;

// A browser that keeps nothing for pages throws here; the token then lives as long as the page.
function remember(value) {
  token = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {}
  show(el("forget"), value !== null);
}

function remembered() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

async function get(path, signal) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  try {
    return await fetch(path, { headers, signal, cache: "no-store" });
  } catch (error) {
    throw error instanceof TypeError ? new Error("no connection") : error;
  }
}

function showStatus(status) {
  Object.assign(clock, { server: status.unixSeconds * 1000, wall: Date.now(), steady: performance.now() });
  const { lease, instance } = status;
  takeHistory(status.history);
  put(el("cluster"), lease.leaseName);
  showLease(lease, instance);
  showInstance(instance, status.build, status.readTime);
  showParts(status.parts);
  showCounts(status.rowCounts ?? [], status.queries ?? []);
  showCollections(status.collections ?? []);
  show(el("login"), false);
  show(el("status"), true);
  delay = EVERY;
  badge(el("heard-word"), "live", "good");
  since(el("heard-age"), clock.server);
  noTrouble();
  tick();
}

// What is shown stays, and its ages run on.
function showTrouble(problem) {
  troubleSince ??= clockTime(Date.now());
  const older = el("status").hidden ? "" : " What is shown is older than that.";
  put(el("trouble"), `Not reachable since ${troubleSince}: ${problem}.${older}`);
  badge(el("heard-word"), "not reachable", "bad");
  delay = Math.min(2 * delay, LONGEST);
}

function noTrouble() {
  troubleSince = null;
  put(el("trouble"), "");
}

function askForToken(status) {
  const was = token;
  if (status === 401) remember(null);
  show(el("status"), false);
  show(el("login"), true);
  const refused = status === 403 ? "This token may not read the status." : "The token was refused.";
  put(el("login-why"), was === null ? "This instance shows its status to those who have one." : refused);
  badge(el("heard-word"), "locked", "plain");
  since(el("heard-age"), null);
  noTrouble();
  el("token").focus();
}

async function poll() {
  clearTimeout(timer);
  asking?.abort();
  const own = (asking = new AbortController());
  const limit = setTimeout(() => own.abort(new Error(`no answer within ${age(PATIENCE)}`)), PATIENCE);
  try {
    const answer = await get(`status?after=${lines.revision}`, own.signal);
    if (answer.status === 401 || answer.status === 403) return askForToken(answer.status);
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    showStatus(await answer.json());
  } catch (error) {
    if (own !== asking) return;
    showTrouble(error.message);
  } finally {
    clearTimeout(limit);
    show(el("footer"), true);
  }
  if (own === asking && !document.hidden) timer = setTimeout(poll, delay);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  // Not while the token is being typed.
  if (!document.hidden && el("login").hidden) {
    delay = EVERY;
    poll();
  }
});

el("login").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(el("token").value.trim());
  el("token").value = "";
  poll();
});

el("forget").addEventListener("click", () => {
  remember(null);
  // Nothing of what it showed stays.
  location.reload();
});

// A link takes no token along, so a page that wants one is fetched and shown here.
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", async (event) => {
    if (token === null) return;
    event.preventDefault();
    put(el("reader-title"), link.textContent);
    el("reader-text").textContent = "";
    el("reader").showModal();
    try {
      el("reader-text").textContent = await (await get(link.getAttribute("href"))).text();
    } catch (error) {
      el("reader-text").textContent = error.message;
    }
  });
}

remember(remembered());
setInterval(tick, 1_000);
poll();
