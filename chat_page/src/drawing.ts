/** How often is drawn, and how long is waited. */

/** How often a growing answer is drawn; a long one is parsed again each time. */
const DRAW_MS = 40;

/** A growing text, drawn at most every DRAW_MS. */
export class Drawing {
  /** What was shown before the stream was read again from its start: shown until the stream is longer. */
  known = "";
  private text = "";
  private timer = 0;

  constructor(private readonly draw: (text: string) => void) {}

  add(text: string): void {
    this.text += text;
    if (this.text.length < this.known.length) return;
    this.timer ||= window.setTimeout(() => this.flush(), Math.max(DRAW_MS, this.text.length / 100));
  }

  flush(): void {
    if (this.timer) this.draw(this.text);
    this.end();
  }

  end(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
  }
}

/** Waits, or until the machine is online again. */
export function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      window.clearTimeout(timer);
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = window.setTimeout(end, milliseconds);
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
