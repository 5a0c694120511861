// From Hounsfield units to grey, in the browser: a window changes without asking the server again.

// One entry for each value that sixteen bits can have, so that a pixel costs one look-up and no arithmetic.
export function greyTable(level, width) {
  const table = new Uint32Array(65536);
  const low = level - width / 2;
  for (let bits = 0; bits < 65536; bits += 1) {
    const value = bits < 32768 ? bits : bits - 65536;
    const grey = Math.round(Math.min(1, Math.max(0, (value - low) / width)) * 255);
    table[bits] = (255 << 24) | (grey << 16) | (grey << 8) | grey;
  }
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
