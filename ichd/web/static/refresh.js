// Keeps the page fresh without losing the reader's place: the main part is fetched again and swapped if it changed.
// Pages without scripts reload themselves instead (the <noscript> in base.html).
"use strict";

const PERIOD_MS = 4000;

function readerIsBusy() {
  const selection = window.getSelection();
  return document.hidden || (selection !== null && !selection.isCollapsed);
}

function focusedLink() {
  const link = document.activeElement && document.activeElement.closest("main a[href]");
  return link ? link.getAttribute("href") : null;
}

async function refresh() {
  if (readerIsBusy()) {
    return;
  }
  const stale = document.getElementById("stale");
  let fresh;
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", redirect: "error" });
    fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    stale.hidden = false;
    return;
  }
  stale.hidden = true;
  document.title = fresh.title;
  const current = document.querySelector("main");
  const next = fresh.querySelector("main");
  if (next === null || next.innerHTML === current.innerHTML) {
    return;
  }
  const focused = focusedLink();
  current.replaceWith(document.adoptNode(next));
  if (focused !== null) {
    const again = next.querySelector(`a[href="${CSS.escape(focused)}"]`) ;
    if (again !== null) {
      again.focus({ preventScroll: true });
    }
  }
}

window.setInterval(refresh, PERIOD_MS);
