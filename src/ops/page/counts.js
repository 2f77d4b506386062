// The counts: a row each, which stays for as long as there is the query, and the line of its last values.

const lines = { revision: "0", size: 1, points: new Map() };

// Adds what is new of the last values. The newest answer is right about everything from its first moment on: the clock
// may have been set back, or another instance answers now.
function takeHistory({ size, revision, points }) {
  for (const [name, added] of Object.entries(points)) {
    const known = (lines.points.get(name) ?? []).filter(([at]) => at < added[0][0]);
    lines.points.set(name, [...known, ...added].slice(-size));
  }
  lines.revision = revision;
}

const [WIDTH, HEIGHT, EDGE] = [120, 28, 3];

// The line of some `[ms, rows]` up to now, broken where values are missing.
function path(points, interval, now) {
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const start = points[0][0];
  const length = Math.max(now - start, 1);
  const x = (at) => EDGE + ((WIDTH - 2 * EDGE) * (at - start)) / length;
  const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * (value - low)) / (high - low));
  const step = ([at, value], index) => {
    const isBroken = index === 0 || at - points[index - 1][0] > 3.5 * interval;
    // Without a length a lone point is a dot.
    return `${isBroken ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${isBroken ? "h0" : ""}`;
  };
  return points.map(step).join("");
}

function change(points) {
  if (points.length < 2) return "";
  const [[start, first], [end, last]] = [points[0], points.at(-1)];
  const sign = last > first ? "+" : "";
  // The greatest unit alone: it is about how much, and a text that grows and shrinks all the time is hard to read.
  const over = age(end - start).split(" ").slice(0, 2).join(" ");
  return last === first ? "unchanged" : `${sign}${NUMBER.format(last - first)} in ${over}`;
}

function bounds({ method, lowerBound, upperBound }) {
  if (method === "METHOD_EXACT") return "";
  if (lowerBound && upperBound) return `${integer(lowerBound)} to ${integer(upperBound)}`;
  if (lowerBound) return `at least ${integer(lowerBound)}`;
  return upperBound ? `at most ${integer(upperBound)}` : "";
}

const isMissing = (count) => count.error !== undefined && reason(count.error) === "TABLE_MISSING";

function showCount(row, count, query) {
  const part = (name) => row.querySelector(`.${name}`);
  const interval = span(query?.interval) ?? 10_000;
  const points = lines.points.get(count.queryName) ?? [];
  put(part("name"), count.queryName);
  put(part("description"), query?.description ?? "");
  put(part("value"), count.rowCount === undefined ? NONE : integer(count.rowCount));
  put(part("bounds"), bounds(count));
  part("trend").querySelector("path").setAttribute("d", points.length > 0 ? path(points, interval, serverNow()) : "");
  put(part("change"), change(points));
  since(part("age"), moment(count.observeTime), "never counted");
  show(part("stale"), count.stale === true);
  put(part("every"), query ? `every ${took(interval)}` : "");
  put(part("method"), word(count.method, "METHOD_"));
  show(part("reason"), count.error !== undefined);
  if (count.error) badge(part("reason"), reason(count.error), isMissing(count) ? "plain" : "bad");
  put(part("message"), count.error?.message ?? "");
  since(part("tried"), count.error ? moment(count.attemptTime) : null);
  row.classList.toggle("failing", count.error !== undefined && !isMissing(count));
  row.classList.toggle("isstale", count.stale === true);
}

function showSummary(counts) {
  const failing = counts.filter((count) => count.error && !isMissing(count));
  const stale = counts.filter((count) => count.stale && !failing.includes(count));
  const times = counts.filter((count) => count.observeTime && !isMissing(count)).map((count) => moment(count.observeTime));
  put(el("summary-size"), `${NUMBER.format(counts.length)} ${counts.length === 1 ? "query" : "queries"}`);
  since(el("summary-oldest"), times.length > 0 ? Math.min(...times) : null, "none counted yet");
  const list = (what, some) => (some.length > 0 ? `${what}: ${some.map((count) => count.queryName).join(", ")}.` : "");
  put(el("summary-problems"), [list("Failing", failing), list("Stale", stale)].filter(Boolean).join(" "));
}

function showCounts(counts, queries) {
  const known = new Map(queries.map((query) => [query.queryName, query]));
  const body = el("counts");
  const names = counts.map((count) => `count-${count.queryName}`);
  // The same queries in the same order, nearly always.
  if ([...body.children].map((row) => row.id).join() !== names.join()) {
    fillList(body, el("count-row"), names, (row, id) => (row.id = id));
  }
  counts.forEach((count, index) => showCount(body.children[index], count, known.get(count.queryName)));
  showSummary(counts);
}
