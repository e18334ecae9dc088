// A canvas as sharp as its screen, drawn again when its size, the colours or what it shows change.
import {html, useEffect, useRef} from "./lib/ui.js";

export function Painting({draw, shown, height, ...rest}) {
  const canvas = useRef(null);
  useEffect(() => {
    if (height) canvas.current.style.height = `${height}px`;
    const again = () => paint(canvas.current, draw);
    again();
    const sizes = new ResizeObserver(again);
    sizes.observe(canvas.current);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    return () => {
      sizes.disconnect();
      dark.removeEventListener("change", again);
    };
  }, shown);
  return html`<canvas ref=${canvas} ...${rest}></canvas>`;
}

function paint(canvas, draw) {
  if (!canvas) return;
  const {clientWidth: width, clientHeight: height} = canvas;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  draw(pen, width, height, (name) => style.getPropertyValue(`--${name}`).trim());
}
