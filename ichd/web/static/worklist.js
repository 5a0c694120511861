// The worklist: alive, by keyboard, with errands. Without this script it is a page with forms that loads itself again.
import { keepAlive } from "./worklist-live.js";
import { showChanges, tickAges } from "./worklist-rows.js";
import { listenToKeys } from "./worklist-keys.js";
import { listenToErrands } from "./worklist-errands.js";

const list = document.getElementById("list");

function submitOnChange() {
  const form = document.getElementById("filters");
  if (form === null) {
    return;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.setAttribute("aria-busy", "true");
    const said = [...new FormData(form)].filter(([name, value]) => value !== "" && !(name === "order" && value === "urgent"));
    window.location.assign(`/${said.length ? "?" : ""}${new URLSearchParams(said)}`);
  });
  for (const input of form.querySelectorAll("input[type=checkbox], select")) {
    input.addEventListener("change", () => form.requestSubmit());
  }
  document.getElementById("help-button").hidden = false;
}

submitOnChange();
listenToKeys();
listenToErrands();
window.setInterval(tickAges, 5000);
keepAlive(list.dataset.events, list.dataset.version, showChanges);
