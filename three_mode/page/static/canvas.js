// A canvas as large as its place, sharp on every screen, in the colours of the page; drawn while there is something new.
export const still = matchMedia("(prefers-reduced-motion: reduce)");

// The colours of style.css, read again when the page becomes dark or light: frames must not ask for styles.
let known = null;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { known = null; });

export function colours() {
  known ??= read();
  return known;
}

function read() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "raised", "line", "text", "quiet", "accent", "good", "busy", "bad", "cell"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Makes the canvas so large, and returns its pen.
export function prepared(canvas, width, height) {
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Calls draw(time) for each frame in which it is asked for; draw returns whether it wants the next one too.
export class Frames {
  constructor(draw) {
    this.draw = draw;
    this.asked = 0;
  }

  ask() {
    if (!this.asked) this.asked = requestAnimationFrame((time) => this.frame(time));
  }

  frame(time) {
    this.asked = 0;
    if (this.draw(time) && !still.matches) this.ask();
  }

  end() {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
  }
}
