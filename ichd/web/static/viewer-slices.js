// The slices of a stack: fetched once each, nearest first, and kept in the page's memory alone.
// No answer of the server stays in a cache of the browser: images of patients are not left on its disk.

const MOST_BYTES = 128 * 1024 * 1024;
const AT_A_TIME = 4;
const AHEAD = 12;
const BEHIND = 4;

// The layout is that of ichd/web/viewing/wire.py: a head in JSON, all low bytes, all high bytes.
function unpack(buffer) {
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headLength)));
  const pixels = head.rows * head.columns;
  const low = new Uint8Array(buffer, 4 + headLength, pixels);
  const high = new Uint8Array(buffer, 4 + headLength + pixels, pixels);
  const values = new Uint16Array(pixels);
  for (let i = 0; i < pixels; i += 1) {
    values[i] = low[i] | (high[i] << 8);
  }
  return { ...head, values };
}

async function sentence(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answers ${answer.status}`;
  }
}

export class Slices {
  // `arrived(index)` is called for each slice that came, or can't come.
  constructor(stack, arrived) {
    this.stack = stack;
    this.arrived = arrived;
    this.kept = new Map();
    this.troubles = new Map();
    this.wanted = [];
    this.underWay = new Map();
    this.bytes = 0;
  }

  get(index) {
    return this.kept.get(index);
  }

  trouble(index) {
    return this.troubles.get(index);
  }

  // What is looked at, and what is likely to be looked at next in this direction (1 or -1).
  want(index, direction) {
    this.troubles.delete(index);
    const around = [index];
    for (let step = 1; step <= AHEAD; step += 1) {
      around.push(index + direction * step);
      if (step <= BEHIND) {
        around.push(index - direction * step);
      }
    }
    this.wanted = around.filter((each) => each >= 0 && each < this.stack.slices.length);
    this.pump();
  }

  close() {
    this.wanted = [];
    for (const abort of this.underWay.values()) {
      abort.abort();
    }
  }

  pump() {
    for (const index of this.wanted) {
      // The first slice has line and server to itself.
      if (this.underWay.size >= (this.kept.size === 0 ? 1 : AT_A_TIME)) {
        return;
      }
      if (!this.kept.has(index) && !this.underWay.has(index) && !this.troubles.has(index)) {
        this.fetch(index);
      }
    }
  }

  async fetch(index) {
    const abort = new AbortController();
    this.underWay.set(index, abort);
    try {
      const answer = await fetch(this.stack.slices[index].url, { signal: abort.signal });
      if (answer.ok) {
        this.keep(index, unpack(await answer.arrayBuffer()));
      } else {
        this.troubles.set(index, await sentence(answer));
      }
    } catch (error) {
      if (!abort.signal.aborted) {
        this.troubles.set(index, `it can't be fetched (${error.message})`);
      }
    }
    this.underWay.delete(index);
    if (!abort.signal.aborted) {
      this.arrived(index);
      this.pump();
    }
  }

  keep(index, slice) {
    this.kept.set(index, slice);
    this.bytes += slice.values.byteLength;
    const centre = this.wanted.length > 0 ? this.wanted[0] : index;
    while (this.bytes > MOST_BYTES && this.kept.size > 1) {
      const farthest = [...this.kept.keys()].reduce((a, b) => (Math.abs(b - centre) > Math.abs(a - centre) ? b : a));
      this.bytes -= this.kept.get(farthest).values.byteLength;
      this.kept.delete(farthest);
    }
  }
}
