// Words for what the API says. Its integers of 64 bits come as strings and stay exact.

const NUMBER = new Intl.NumberFormat("en");
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const NONE = "–";

const integer = (text) => NUMBER.format(BigInt(text));

// "METHOD_EXACT_CAPPED" is "exact capped".
const word = (name, prefix) => (name ? name.slice(prefix.length).toLowerCase().replaceAll("_", " ") : NONE);

// "1.500s" is 1500. An unset span is none at all.
const span = (text) => (text ? parseFloat(text) * 1000 : null);

// Nanoseconds are more than a Date takes everywhere.
const moment = (text) => (text ? Date.parse(text.replace(/(\.\d{3})\d+/, "$1")) : null);

// The two greatest units of a span: "3 s", "4 min 10 s", "2 h 5 min".
function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = UNITS[first];
  const [lesser, lesserSize] = UNITS[first + 1] ?? ["", Infinity];
  const rest = Math.floor((seconds % size) / lesserSize);
  return `${NUMBER.format(Math.floor(seconds / size))} ${unit}` + (rest > 0 ? ` ${rest} ${lesser}` : "");
}

// How long something took.
function took(ms) {
  if (ms < 1000) return `${NUMBER.format(Number(ms.toPrecision(2)))} ms`;
  return ms < 10_000 ? `${Number((ms / 1000).toFixed(1))} s` : age(ms);
}

// A moment as people here read it; the day where it is not today.
function clockTime(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-CA")} ${time}`;
}

// The reason of a google.rpc.Status.
function reason(error) {
  const info = error.details?.find((detail) => detail["@type"].endsWith("/google.rpc.ErrorInfo"));
  return info?.reason ?? `CODE_${error.code}`;
}
