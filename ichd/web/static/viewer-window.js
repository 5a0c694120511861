// From Hounsfield units to grey, in the browser: a window changes without asking the server again.

const LEAST = -32768;
const MOST = 32767;
const BLACK = 0xff000000;
const WHITE = 0xffffffff;

// One entry for each value that sixteen bits can have, so that a pixel costs one look-up and no arithmetic. Only those
// within the window are worked out one by one.
export function greyTable(level, width) {
  const bottom = level - width / 2;
  const first = Math.min(MOST + 1, Math.max(LEAST, Math.ceil(bottom)));
  const end = Math.min(MOST + 1, Math.max(LEAST, Math.floor(bottom + width) + 1));
  const rising = new Uint32Array(MOST - LEAST + 1).fill(BLACK, 0, first - LEAST).fill(WHITE, end - LEAST);
  for (let value = first; value < end; value += 1) {
    const grey = Math.round(((value - bottom) / width) * 255);
    rising[value - LEAST] = BLACK | (grey << 16) | (grey << 8) | grey;
  }
  // Negative values have the higher bit patterns.
  const table = new Uint32Array(rising.length);
  table.set(rising.subarray(-LEAST));
  table.set(rising.subarray(0, -LEAST), -LEAST);
  return table;
}

// Draws a slice pixel for pixel; the browser scales the canvas, true to the proportions that its box has.
export function paint(canvas, slice, table) {
  if (canvas.width !== slice.columns || canvas.height !== slice.rows) {
    canvas.width = slice.columns;
    canvas.height = slice.rows;
  }
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const image = context.createImageData(slice.columns, slice.rows);
  const pixels = new Uint32Array(image.data.buffer);
  const values = slice.values;
  for (let i = 0; i < pixels.length; i += 1) {
    pixels[i] = table[values[i]];
  }
  context.putImageData(image, 0, 0);
}
