// Retry and read again: asked once more, then done without leaving the list.
import { afterBusy } from "./worklist-rows.js";

const WORDS = {
  retry: { title: "Retry what failed?", words: "Failed jobs of this study, and those that wait, are tried again now.", yes: "Retry" },
  reprocess: {
    title: "Read it again?",
    words: "The study is read anew as another revision, and its report is sent again to every destination.",
    yes: "Read it again",
  },
};

const dialog = document.getElementById("confirm");
const yes = document.getElementById("confirm-yes");
const trouble = document.getElementById("confirm-trouble");
let errand = null;

function ask(button) {
  const row = button.closest("tr");
  const { title, words, yes: label } = WORDS[button.dataset.do];
  errand = { uid: row.dataset.uid, verb: button.dataset.do };
  document.getElementById("confirm-title").textContent = `${row.querySelector(".study a").textContent}: ${title}`;
  document.getElementById("confirm-words").textContent = words;
  yes.textContent = label;
  yes.disabled = false;
  trouble.hidden = true;
  button.closest("details").open = false;
  dialog.showModal();
  yes.focus();
}

function complain(sentence) {
  trouble.textContent = sentence;
  trouble.hidden = false;
  yes.disabled = false;
}

async function run() {
  yes.disabled = true;
  const token = document.querySelector("meta[name=form-token]")?.content;
  let answer;
  try {
    answer = await fetch(`/api/studies/${errand.uid}/${errand.verb}`, {
      method: "POST",
      headers: token ? { "X-Form-Token": token } : {},
    });
  } catch {
    complain("ichd does not answer; try again.");
    return;
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    complain(said.error ?? "It could not be done; load the page again.");
    return;
  }
  dialog.close();
  document.getElementById("news").textContent = "It is in the queue again.";
}

export function listenToErrands() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button !== null) {
      event.preventDefault();
      ask(button);
    }
  });
  yes.addEventListener("click", run);
  document.getElementById("confirm-no").addEventListener("click", () => dialog.close());
  for (const each of document.querySelectorAll("dialog")) {
    each.addEventListener("close", () => {
      afterBusy();
      document.querySelector("#rows tr.current .study a")?.focus({ preventScroll: true });
    });
  }
}
