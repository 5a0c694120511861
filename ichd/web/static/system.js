// Keeps the figures fresh: the page is fetched again and its main part swapped, with what the reader has unfolded,
// scrolled and focused as it was.

const PERIOD_MS = 20000;

function readerIsBusy() {
  const selection = window.getSelection();
  return document.hidden || (selection !== null && !selection.isCollapsed) || document.querySelector(".column:hover") !== null;
}

function focusedPlace(main) {
  const focused = document.activeElement;
  if (focused === null || !main.contains(focused)) {
    return null;
  }
  const all = [...main.querySelectorAll("a, summary, .scroll")];
  return { index: all.indexOf(focused), of: all.length };
}

function keepPlace(current, next) {
  for (const unfolded of current.querySelectorAll("details[open]")) {
    const same = next.querySelector(`#${CSS.escape(unfolded.id)}`);
    if (same !== null) {
      same.open = true;
    }
  }
  const place = focusedPlace(current);
  const scrolled = new Map([...current.querySelectorAll("details[open] .scroll")].map((each) => [each.parentElement.id, each.scrollTop]));
  current.replaceWith(next);
  for (const [id, top] of scrolled) {
    const same = next.querySelector(`#${CSS.escape(id)} .scroll`);
    if (same !== null) {
      same.scrollTop = top;
    }
  }
  const all = next.querySelectorAll("a, summary, .scroll");
  if (place !== null && place.of === all.length && place.index >= 0) {
    all[place.index].focus({ preventScroll: true });
  }
}

async function refresh() {
  if (readerIsBusy()) {
    return;
  }
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", redirect: "error" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = fresh.querySelector("main");
    if (answer.ok && next !== null) {
      keepPlace(document.querySelector("main"), document.adoptNode(next));
    }
    stale.hidden = answer.ok;
  } catch {
    stale.hidden = false;
  }
}

document.addEventListener("visibilitychange", refresh);
window.setInterval(refresh, PERIOD_MS);
