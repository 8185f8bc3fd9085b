// Asks for the tunnel's figures once a second, and draws them.
"use strict";

const PERIOD_MS = 1000;
const PATIENCE_MS = 3000;
const SAMPLES = 60;

// In plain words; the exact reason stands beside it.
const CAUSES = {
  "eof": "Ended in order",
  "truncated": "Left without close_notify",
  "reset": "Connection reset",
  "timeout": "Took too long",
  "idle": "Idle too long",
  "half-close": "Half closed too long",
  "not-tls": "Spoke no TLS",
  "no-version": "No TLS version in common",
  "no-cipher": "No cipher in common",
  "no-protocol": "No application protocol in common",
  "unknown-name": "Asked for an unknown name",
  "bad-certificate": "Certificate not accepted",
  "alert": "Sent a TLS alert",
  "tls-error": "Broke the TLS protocol",
  "refused": "Backend refused",
  "unreachable": "Backend unreachable",
  "unresolved": "Backend name unknown",
  "drained": "Cut at shutdown",
  "resources": "Out of resources",
  "panic": "Fault in adit",
};

const $ = (id) => document.getElementById(id);
const series = { open: [], handshakes: [], up: [], down: [] };
let last = null;
let answeredAt = null;

function count(n) {
  return Math.round(n).toLocaleString("en-US");
}

// Binary units: [number, unit].
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 1023.5 && unit + 1 < units.length) {
    n /= 1024;
    unit += 1;
  }
  return [n < 9.95 && unit > 0 ? n.toFixed(1) : n.toFixed(0), units[unit]];
}

function amount(n) {
  return bytes(n).join("\u00a0");
}

function percent(part, whole) {
  return whole > 0 ? `${Math.round((part * 100) / whole)}\u00a0%` : "–";
}

function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return first < 0
    ? "0\u00a0s"
    : parts.slice(first, first + 2).map(([n, unit]) => `${n}\u00a0${unit}`).join(" ");
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function figure(id, number, unit) {
  $(id).replaceChildren(number, ...(unit ? [element("span", "unit", unit)] : []));
}

function record(name, value) {
  const values = series[name];
  values.push(value);
  if (values.length > SAMPLES) values.shift();
}

// The newest sample is at the right edge; the curve never leaves its box.
function spark(name, least) {
  const values = series[name];
  const svg = $(`spark-${name}`);
  if (values.length < 2) {
    svg.replaceChildren();
    return;
  }
  const top = Math.max(least, ...values) * 1.08;
  const step = 60 / (SAMPLES - 1);
  const start = 60 - (values.length - 1) * step;
  const points = values.map((value, i) =>
    `${(start + i * step).toFixed(2)} ${(19.4 - (value / top) * 18.6).toFixed(2)}`);
  const path = (className, d) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("class", className);
    made.setAttribute("d", d);
    return made;
  };
  svg.replaceChildren(
    path("area", `M${start.toFixed(2)} 20L${points.join("L")}L60 20Z`),
    path("line", `M${points.join("L")}`),
  );
}

function bar(part, whole) {
  const fill = element("div", "fill");
  // A little is more than nothing.
  fill.style.width = part > 0 ? `max(3px, ${(part * 100) / whole}%)` : "0";
  return element("div", "track", fill);
}

function drawFigures(stats, rates) {
  const total = stats.total;
  figure("open", count(total.tunnels_open));
  $("open-caption").textContent = `${count(total.accepted)} accepted in all`;

  figure("handshakes", rates ? count(rates.handshakes) : "–", "/s");
  $("handshakes-caption").replaceChildren(
    element("span", "", `${count(total.handshakes)} in all`),
    element("strong", "", `${percent(total.handshakes_resumed, total.handshakes)} resumed`));

  for (const way of ["down", "up"]) {
    const [number, unit] = rates ? bytes(rates[way]) : ["–", "B"];
    figure(way, number, `${unit}/s`);
    $(`${way}-caption`).textContent = `${amount(total[`bytes_${way}`])} in all`;
  }
  spark("open", 4);
  spark("handshakes", 4);
  spark("down", 4096);
  spark("up", 4096);
}

function cell(text, isZero) {
  return element("td", isZero ? "zero" : "", text);
}

function drawShards(stats) {
  const all = stats.total.accepted;
  $("shards").replaceChildren(...stats.shards.map((shard) => {
    const share = element("td", "wide", element("div", "bar",
      bar(shard.accepted, all),
      element("span", "percent", percent(shard.accepted, all))));
    return element("tr", "",
      cell(String(shard.shard)),
      cell(shard.cpu === null ? "any" : String(shard.cpu), shard.cpu === null),
      share,
      cell(count(shard.tunnels_open), shard.tunnels_open === 0),
      cell(count(shard.accepted), shard.accepted === 0),
      cell(count(shard.handshakes), shard.handshakes === 0),
      cell(amount(shard.bytes_down), shard.bytes_down === 0),
      cell(amount(shard.bytes_up), shard.bytes_up === 0));
  }));
  const silent = stats.silent_shards;
  $("silent").hidden = silent.length === 0;
  $("silent").textContent = silent.length === 1
    ? `Shard ${silent[0]} did not answer in time; its figures are left out.`
    : `Shards ${silent.join(", ")} did not answer in time; their figures are left out.`;
}

function drawCloses(stats) {
  const closes = [...stats.total.closed].sort((a, b) => b.count - a.count);
  const all = closes.reduce((sum, close) => sum + close.count, 0);
  $("closes").replaceChildren(...closes.map((close) => element("li", "",
    element("span", "", CAUSES[close.cause] || close.cause),
    element("code", "", `${close.phase}/${close.side}/${close.cause}`),
    bar(close.count, all),
    element("span", "count", count(close.count)))));
  $("closes-none").hidden = closes.length > 0;
}

function drawState(state, text) {
  if ($("state").dataset.state !== state || $("state").textContent !== text) {
    $("state").dataset.state = state;
    $("state").textContent = text;
  }
  $("figures-all").classList.toggle("stale", state === "unreachable");
}

function take(stats) {
  // Another process's figures say nothing about this one's rates.
  if (last && last.started_unix_seconds !== stats.started_unix_seconds) {
    last = null;
    for (const values of Object.values(series)) values.length = 0;
  }
  let rates = null;
  if (last) {
    const span = Math.max(stats.uptime_seconds - last.uptime_seconds, 0.001);
    const rate = (name) => Math.max(0, stats.total[name] - last.total[name]) / span;
    rates = { handshakes: rate("handshakes"), up: rate("bytes_up"), down: rate("bytes_down") };
    for (const [name, value] of Object.entries(rates)) record(name, value);
  }
  record("open", stats.total.tunnels_open);
  last = stats;
  answeredAt = Date.now();

  drawState(stats.state, stats.state);
  $("process").textContent =
    `version ${stats.version} · pid ${stats.pid} · up ${duration(stats.uptime_seconds)}`;
  $("route").textContent = stats.listeners.map((l) => `${l.address} → ${l.service}`).join(", ");
  drawFigures(stats, rates);
  drawShards(stats);
  drawCloses(stats);
}

async function ask() {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), PATIENCE_MS);
  try {
    const answer = await fetch("/stats.json", { cache: "no-store", signal: giveUp.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    take(await answer.json());
  } catch {
    const since = answeredAt === null ? "" : ` for ${duration((Date.now() - answeredAt) / 1000)}`;
    drawState("unreachable", `unreachable${since}`);
  } finally {
    clearTimeout(timer);
  }
}

async function run() {
  for (;;) {
    const next = new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
    await ask();
    await next;
  }
}

run();
