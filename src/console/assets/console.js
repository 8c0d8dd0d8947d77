"use strict";
// Live updates and local times. Everything else works without this script.

const language = document.documentElement.lang;
const { left, lost, ended } = document.body.dataset;
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" });

// A moment of today is a time, any other a date and a time.
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const isToday = moment.toDateString() === new Date().toDateString();
    time.textContent = (isToday ? clock : calendar).format(moment);
    time.title = exact.format(moment);
  }
  count(root);
}

function remaining(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const rest = `${Math.floor((seconds % 86400) / 3600)}:${two(Math.floor((seconds % 3600) / 60))}:${two(seconds % 60)}`;
  return days > 0 ? `${days} d ${rest}` : rest;
}

function count(root) {
  for (const place of root.querySelectorAll("[data-ends]")) {
    place.textContent = left.replace("{}", remaining(new Date(place.dataset.ends) - Date.now()));
  }
}

// The server escapes names. The policy of the page allows no script in it.
function parse(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup;
  return document.importNode(template.content.firstElementChild, true);
}

// Put in a new version of an element, and leave the focus where it was.
function replace(element, markup) {
  const grown = parse(markup);
  if (!grown || !element) return;
  // A refusal stays until the person goes on.
  for (const refusal of element.querySelectorAll(".refusal")) {
    const [cell, row] = [refusal.closest("td"), refusal.closest("tr")];
    const fresh = grown.id === row.id ? grown : grown.querySelector(`#${CSS.escape(row.id)}`);
    fresh?.lastElementChild.replaceWith(cell);
  }
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.replaceWith(grown);
  localize(grown);
  if (focused) document.getElementById(focused)?.focus();
}

function follow(place) {
  const state = document.getElementById("live");
  let source = null;
  let heard = 0;
  let since = null;
  let hasEnded = false;
  const isUp = () => {
    heard = Date.now();
    if (since !== null || !state.classList.contains("up")) {
      since = null;
      state.classList.add("up");
      state.classList.remove("down");
      state.textContent = state.dataset.live;
    }
  };
  const isDown = () => {
    if (since !== null) return;
    since = heard || Date.now();
    state.classList.add("down");
    state.classList.remove("up");
    state.textContent = lost.replace("{}", clock.format(new Date(since)));
  };
  const open = () => {
    if (source || hasEnded) return;
    source = new EventSource(place.dataset.stream);
    source.addEventListener("queue", (event) => {
      isUp();
      const id = /id="([^"]+)"/.exec(event.data)?.[1];
      if (id) replace(document.getElementById(id), event.data);
    });
    source.addEventListener("agent", (event) => {
      isUp();
      const row = parse(event.data);
      const present = document.getElementById(row.id);
      if (present) return replace(present, event.data);
      // The id is `row-QUEUE/USER`.
      const queue = row.id.slice("row-".length).split("/")[0];
      const rows = document.getElementById(`queue-${queue}`)?.querySelector("tbody");
      if (!rows) return;
      localize(row);
      rows.insertBefore(row, [...rows.children].find((other) => other.dataset.sort > row.dataset.sort) ?? null);
    });
    source.addEventListener("gone", (event) => {
      isUp();
      document.getElementById(event.data.trim())?.remove();
    });
    source.addEventListener("count", (event) => {
      isUp();
      replace(document.getElementById(parse(event.data).id), event.data);
    });
    source.addEventListener("totals", (event) => {
      isUp();
      replace(document.querySelector("#totals > *"), event.data);
    });
    source.addEventListener("row", (event) => {
      isUp();
      const rows = place.querySelector("tbody");
      const row = parse(event.data);
      localize(row);
      rows.prepend(row);
      while (rows.children.length > 200) rows.lastElementChild.remove();
    });
    source.addEventListener("beat", isUp);
    source.addEventListener("reload", () => location.reload());
    source.addEventListener("ended", end);
    source.addEventListener("error", () => {
      isDown();
      // The browser repeats a lost connection itself. A refused one stays closed.
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(again, 2000);
      }
    });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const end = () => {
    close();
    hasEnded = true;
    state.classList.add("down");
    state.classList.remove("up");
    state.textContent = ended;
  };
  // Without a session the console leads to its entrance.
  const again = async () => {
    try {
      const response = await fetch("me", { redirect: "manual" });
      if (response.type === "opaqueredirect") return end();
    } catch {
      // The server is still away.
    }
    if (!document.hidden && !hasEnded) open();
  };
  // A hidden tab needs no stream.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  // The browser may bring the page back from its memory, as it was long ago.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  setInterval(() => source && heard && Date.now() - heard > 25000 && isDown(), 1000);
  if (!document.hidden) open();
}

localize(document);
setInterval(() => count(document), 1000);
const streamed = document.querySelector("[data-stream]");
if (streamed) follow(streamed);
