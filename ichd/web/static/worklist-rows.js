// Puts changes of the list in place without losing the reader's: rows that did not change stay as they are.

const list = document.getElementById("list");

function rowOf(html) {
  // A template, because a row outside of a table is no row to a parser. What is in it was escaped by the server.
  const holder = document.createElement("template");
  holder.innerHTML = html.trim();
  return holder.content.firstElementChild;
}

function placeOf(element) {
  const row = element && element.closest("#rows tr");
  if (!row) {
    return null;
  }
  return { uid: row.dataset.uid, selector: element.matches("summary") ? "summary" : "a[href]" };
}

function isBusy() {
  return document.querySelector("dialog[open], #rows details[open]") !== null;
}

function find(uid) {
  return document.querySelector(`#rows tr[data-uid="${CSS.escape(uid)}"]`);
}

// All that a row says, but its age, which goes on by itself, and what the reader did to it.
function wordsOf(row) {
  const copy = row.cloneNode(true);
  copy.querySelector("td.age time").textContent = "";
  copy.querySelector("details")?.removeAttribute("open");
  return `${row.className.split(" ")[0]} ${copy.innerHTML}`;
}

function announce(arrived) {
  const urgent = arrived.filter((row) => row.classList.contains("urgent"));
  if (urgent.length > 0) {
    const names = urgent.map((row) => row.querySelector(".study a").textContent).join(", ");
    document.getElementById("news").textContent = `New urgent: ${names}`;
  }
}

let waiting = null;

export function showChanges(news) {
  if (news.shape !== list.dataset.shape) {
    // Another kind of page: the first study, or the last one that fitted.
    if (isBusy()) {
      waiting = news;
    } else {
      window.location.reload();
    }
    return;
  }
  for (const [name, count] of Object.entries(news.counts)) {
    document.querySelector(`[data-count="${CSS.escape(name)}"]`).textContent = count;
  }
  const urgent = news.counts["triage=urgent"];
  document.title = `${urgent === "0" ? "" : `(${urgent} urgent) `}ichd worklist`;
  const body = document.getElementById("rows");
  if (body === null) {
    return;
  }
  const place = placeOf(document.activeElement);
  const arrived = [];
  const rows = news.order.map((uid) => {
    const before = find(uid);
    if (!(uid in news.rows)) {
      return before;
    }
    const row = rowOf(news.rows[uid]);
    if (before !== null && wordsOf(before) === wordsOf(row)) {
      return before;
    }
    if (before === null || before.className.split(" ")[0] !== row.className) {
      row.classList.add("fresh");
      arrived.push(row);
    }
    row.classList.toggle("current", before !== null && before.classList.contains("current"));
    const menu = before && before.querySelector("details[open]");
    if (menu && row.querySelector("details")) {
      row.querySelector("details").open = true;
    }
    return row;
  });
  body.replaceChildren(...rows.filter((row) => row !== null));
  if (place !== null) {
    const again = find(place.uid)?.querySelector(place.selector);
    again?.focus({ preventScroll: true });
  }
  announce(arrived);
  tickAges();
}

export function afterBusy() {
  if (waiting !== null && !isBusy()) {
    window.location.reload();
  }
}

export function tickAges() {
  for (const time of document.querySelectorAll("td.age time")) {
    const seconds = Math.max((Date.now() - Date.parse(time.dateTime)) / 1000, 0);
    const words = ageOf(seconds);
    if (time.textContent !== words) {
      time.textContent = words;
    }
  }
}

// As ichd.web.words.age.
function ageOf(seconds) {
  if (seconds < 60) {
    return `${Math.floor(seconds)} s`;
  }
  if (seconds < 3600) {
    return `${Math.floor(seconds / 60)} min`;
  }
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}
