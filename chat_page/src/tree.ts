/** The messages of a conversation are a tree: an edited question and a second answer are siblings. */

import type { Message, ModelId } from "./types";

/** Why a message is not as it should be, and what its button does. */
export interface Fault {
  code: string;
  text: string;
  retryAfter: number | null;
  /** `send`: the same ids again. `resume`: read on. `again`: a new answer. */
  action: "send" | "resume" | "again" | null;
  /** The page found it: the server may not know the answer. */
  local?: boolean;
}

export interface Node extends Message {
  /** Of an answer: what the page waits for. */
  phase?: "sending" | "waiting" | "streaming" | "reconnecting" | "stopping";
  fault?: Fault;
  /** Of a question: the server has not confirmed it. */
  unsent?: boolean;
}

export type Tree = ReadonlyMap<string, Node>;

export function children(tree: Tree, parent: string | null): Node[] {
  const found: Node[] = [];
  for (const node of tree.values()) if (node.parent === parent) found.push(node);
  return found;
}

/** The messages that are shown: from the root to `head`, and from there to its newest descendant. */
export function path(tree: Tree, head: string | null): Node[] {
  const shown: Node[] = [];
  const seen = new Set<string>();
  for (let at = head ? tree.get(head) : undefined; at && !seen.has(at.id); at = at.parent ? tree.get(at.parent) : undefined) {
    seen.add(at.id);
    shown.unshift(at);
  }
  for (let at = newest(tree, shown.at(-1)?.id ?? null); at && !seen.has(at.id); at = newest(tree, at.id)) {
    seen.add(at.id);
    shown.push(at);
  }
  return shown;
}

function newest(tree: Tree, parent: string | null): Node | undefined {
  return children(tree, parent).at(-1);
}

/** The versions of a message, itself included. */
export function siblings(tree: Tree, node: Node): Node[] {
  return children(tree, node.parent).filter(({ role }) => role === node.role);
}

/** The tuned and the base model's answer beside each other: the shown one, and the other model's newest. */
export function pair(tree: Tree, answer: Node): [Node, Node] | null {
  if (!answer.parent) return null;
  const other: ModelId = answer.model === "base" ? "tuned" : "base";
  const beside = children(tree, answer.parent).filter((node) => node.model === other).at(-1);
  if (!beside) return null;
  return answer.model === "base" ? [beside, answer] : [answer, beside];
}
