/** Reads Server-Sent Events from a response. `EventSource` cannot POST, and reconnects by rules of its own. */

import type { StreamEvent } from "./types";

export type Numbered = StreamEvent & { id: number };

/** The server sends a comment every 10 seconds: a longer silence is a connection that a proxy dropped. */
const SILENCE_MS = 30_000;

/** Yields the events until the response ends; throws when the connection breaks or stays silent. */
export async function* eventsOf(response: Response): AsyncGenerator<Numbered> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await withinTime(reader.read());
      if (done) return;
      rest += value;
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function parse(block: string): Numbered | null {
  const field: Record<string, string> = {};
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    field[name] = name in field ? `${field[name]}\n${value}` : value;
  }
  if (!field.event || field.data === undefined) return null;
  return { id: Number(field.id), name: field.event, data: JSON.parse(field.data) } as Numbered;
}

function withinTime<T>(reading: Promise<T>): Promise<T> {
  let timer = 0;
  const silence = new Promise<never>((_, reject) => {
    timer = window.setTimeout(() => reject(new Error("silent connection")), SILENCE_MS);
  });
  return Promise.race([reading, silence]).finally(() => window.clearTimeout(timer));
}
