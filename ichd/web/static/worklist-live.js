// Holds the stream of changes, says whether it is there, and comes back after it was lost.

// The server speaks every 15 s; who is silent for longer is gone, though the connection may not know yet.
const SILENCE_MS = 40000;
const LONGEST_PAUSE_MS = 30000;
const WORDS = { on: "Live", off: "Not live: trying to reconnect", away: "Not live: the database does not answer" };

const mark = document.getElementById("live");

function show(state) {
  mark.hidden = false;
  if (mark.dataset.state !== state) {
    mark.dataset.state = state;
    mark.querySelector(".words").textContent = WORDS[state];
  }
  document.getElementById("list").classList.toggle("stale", state !== "on");
}

export function keepAlive(address, version, changed) {
  let stream = null;
  let silence = 0;
  let retry = 0;
  let pause = 1000;
  let known = version;

  function heard(state) {
    window.clearTimeout(silence);
    silence = window.setTimeout(lose, SILENCE_MS);
    if (state !== undefined) {
      show(state);
    }
  }

  function close() {
    window.clearTimeout(silence);
    window.clearTimeout(retry);
    if (stream !== null) {
      stream.close();
      stream = null;
    }
  }

  function lose() {
    close();
    show("off");
    retry = window.setTimeout(open, pause * (0.7 + 0.6 * Math.random()));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }

  function open() {
    close();
    const where = new URL(address, window.location.href);
    where.searchParams.set("version", known);
    stream = new EventSource(where);
    stream.addEventListener("open", () => {
      pause = 1000;
      heard("on");
    });
    stream.addEventListener("error", lose);
    stream.addEventListener("beat", () => heard());
    stream.addEventListener("away", () => heard("away"));
    stream.addEventListener("back", () => heard("on"));
    stream.addEventListener("list", (event) => {
      heard("on");
      known = event.lastEventId;
      changed(JSON.parse(event.data));
    });
  }

  // A browser has six connections to a server: tabs that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  if (!document.hidden) {
    open();
  }
}
