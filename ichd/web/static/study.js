// A study's page: starts the viewer, and keeps the page fresh without disturbing who looks at it. Each part that the
// server marks is swapped only when the server says something new in it; the viewer goes on where it stood.

import { Viewer } from "./viewer.js";

const PERIOD_MS = 4000;

let viewer = null;
let served = partsOf(document);

function partsOf(page) {
  return new Map([...page.querySelectorAll("[data-fresh]")].map((part) => [part.id, part.outerHTML]));
}

function startViewer() {
  const root = document.getElementById("viewer");
  const remembered = viewer ? viewer.state : { index: askedFor() };
  viewer?.close();
  viewer = root?.querySelector(".stage") ? new Viewer(root, remembered) : null;
}

// A key slice is a link to "#slice-12": it works from a bookmark, too.
function askedFor() {
  const number = /^#slice-([0-9]+)$/.exec(window.location.hash)?.[1];
  return number ? Number(number) - 1 : -1;
}

function follow() {
  if (askedFor() >= 0 && viewer?.reading) {
    viewer.goInReading(askedFor());
  }
}

function readerIsBusy() {
  const selection = window.getSelection();
  const writes = document.activeElement?.closest("form, select, details");
  return document.hidden || (selection !== null && !selection.isCollapsed) || Boolean(writes);
}

async function freshPage() {
  const answer = await fetch(window.location.href, { cache: "no-store", redirect: "error" });
  if (!answer.ok) {
    throw new Error(answer.statusText);
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function refresh() {
  if (readerIsBusy()) {
    return;
  }
  const stale = document.getElementById("stale");
  let page;
  try {
    page = await freshPage();
  } catch {
    stale.hidden = false;
    return;
  }
  stale.hidden = true;
  document.title = page.title;
  const next = partsOf(page);
  const changed = swap(page, next);
  served = next;
  if (changed.includes("viewer") || changed.includes("findings")) {
    startViewer();
  }
}

// The ids of what changed.
function swap(page, next) {
  if ([...next.keys()].join() !== [...served.keys()].join()) {
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    return [...next.keys()];
  }
  const changed = [...next.keys()].filter((id) => next.get(id) !== served.get(id));
  for (const id of changed) {
    document.getElementById(id).replaceWith(document.adoptNode(page.getElementById(id)));
  }
  return changed;
}

startViewer();
window.addEventListener("hashchange", follow);
window.setInterval(refresh, PERIOD_MS);
