// What pages do not need, but gain: live numbers, filters, copying, "/" for the search.
"use strict";

const search = document.getElementById("search");
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
});

if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.setAttribute("aria-label", "copy " + button.dataset.copy.slice(0, 40));
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    });
  }
}

// Filters of tables that are here as a whole.
for (const form of document.querySelectorAll("form[data-table]")) {
  const rows = document.querySelectorAll("#" + form.dataset.table + " tbody tr");
  const input = form.querySelector("input");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

// The list of images is filtered by the server.
for (const input of document.querySelectorAll("input[data-filter]")) {
  let timer = 0;
  let asked = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const number = ++asked;
      const address = "/listImages?" + new URLSearchParams(new FormData(input.form));
      const answer = await fetch(address);
      if (!answer.ok || number !== asked) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const [old, fresh] of [[".found", ".found"], ["main > .scroll, main > .empty", "main > .scroll, main > .empty"]]) {
        const there = document.querySelector(old);
        const here = page.querySelector(fresh);
        if (there && here) there.replaceWith(document.adoptNode(here));
      }
      for (const pager of document.querySelectorAll("main > .pager")) pager.remove();
      const pager = page.querySelector("main > .pager");
      if (pager) document.querySelector("main").append(document.adoptNode(pager));
      history.replaceState(null, "", address);
    }, 200);
  });
}

// Differences of texts are fetched when they are unfolded.
for (const details of document.querySelectorAll("details[data-fetch]")) {
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.done) return;
    details.dataset.done = "yes";
    const answer = await fetch(details.dataset.fetch);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("difference") || page.querySelector("h1");
    if (found) {
      found.removeAttribute("id");
      details.querySelector("p").before(document.adoptNode(found));
    }
  });
}

const tail = document.getElementById("log-tail");
if (tail) tail.scrollTop = tail.scrollHeight;

// Numbers that change.
const shown = document.querySelectorAll("[data-live]");
const dot = document.getElementById("live");
if (shown.length && window.EventSource) {
  const patience = 12000;
  let last = Date.now();
  const source = new EventSource("/events");
  const say = (text, good) => {
    dot.hidden = false;
    dot.classList.toggle("stale", !good);
    dot.lastElementChild.textContent = text;
  };
  source.addEventListener("message", (event) => {
    last = Date.now();
    const values = JSON.parse(event.data);
    for (const place of shown) {
      const value = values[place.dataset.live];
      if (value !== undefined && place.textContent !== value) place.textContent = value;
    }
    say("live", true);
  });
  const watch = setInterval(() => {
    const silence = Date.now() - last;
    if (silence > patience) say("no answer for " + Math.round(silence / 1000) + " s", false);
  }, 1000);
  addEventListener("pagehide", () => {
    source.close();
    clearInterval(watch);
  });
}
