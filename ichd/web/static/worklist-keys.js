// The list by keyboard: the row whose link has the focus is the current one, so that Enter opens it as any link.

function rows() {
  return [...document.querySelectorAll("#rows tr")];
}

function currentRow() {
  return document.activeElement.closest("#rows tr") ?? document.querySelector("#rows tr.current");
}

function move(by) {
  const all = rows();
  if (all.length === 0) {
    return;
  }
  const at = all.indexOf(currentRow());
  const next = all[at === -1 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  next.querySelector(".study a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function open(id) {
  document.getElementById(id).showModal();
}

const KEYS = {
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  r: () => currentRow()?.querySelector("[data-do]")?.click(),
  n: () => document.querySelector(".pages a[rel=next]")?.click(),
  "/": () => document.getElementById("search")?.focus(),
  "?": () => open("help"),
};

function isWriting(element) {
  return element.matches("input:not([type=checkbox]), select, textarea") || element.closest("dialog") !== null;
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.key === "Escape") {
      closeMenus(null);
      if (event.target.id === "search") {
        event.target.blur();
      }
      return;
    }
    if (event.key in KEYS && !isWriting(event.target)) {
      event.preventDefault();
      KEYS[event.key]();
    }
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("#rows tr");
    if (row !== null) {
      document.querySelector("#rows tr.current")?.classList.remove("current");
      row.classList.add("current");
    }
  });
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details")));
  document.getElementById("help-button")?.addEventListener("click", () => open("help"));
}

function closeMenus(kept) {
  for (const menu of document.querySelectorAll("#rows details[open]")) {
    if (menu !== kept) {
      menu.open = false;
    }
  }
}
