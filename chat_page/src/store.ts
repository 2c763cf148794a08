/** What the page knows: the conversations, the open one as a tree, and the answers that are being written. */

import { useSyncExternalStore } from "react";
import { api, ApiError } from "./api";
import { Answers } from "./answers";
import { path, type Fault, type Node, type Tree } from "./tree";
import type { Conversation, Feedback, Me, ModelId } from "./types";

export type Choice = ModelId | "compare";

export interface Thread {
  id: string;
  conversation: Conversation | null;
  tree: Tree;
  head: string | null;
  loading: boolean;
  fault: Fault | null;
  /** Questions whose two models' answers are shown one at a time. */
  single: ReadonlySet<string>;
}

export interface List {
  items: Conversation[];
  cursor: string | null;
  query: string;
  loading: boolean;
  fault: Fault | null;
}

export interface State {
  me: Me | null;
  meFault: Fault | null;
  list: List;
  thread: Thread;
  choice: Choice;
  /** Conversations in which an answer is being written. */
  running: ReadonlySet<string>;
  /** What failed and has no place of its own. */
  notice: Fault | null;
  /** For the live region: `answering`, or a finished answer. */
  said: { kind: "answering" | "answer" | "stopped" | "failed"; text: string; at: number } | null;
}


/** How often is asked whether a model has become available. */
const REREAD_MS = 15_000;

/** Not `randomUUID`, which plain HTTP to another machine lacks. */
export const newId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const emptyThread = (id: string): Thread => ({
  id,
  conversation: null,
  tree: new Map(),
  head: null,
  loading: false,
  fault: null,
  single: new Set(),
});

export function faultOf(error: unknown, action: Fault["action"] = null): Fault {
  if (error instanceof ApiError) return { code: error.code, text: error.message, retryAfter: error.retryAfter, action, local: true };
  return { code: "network", text: "", retryAfter: null, action, local: true };
}

export class ChatStore {
  private listeners = new Set<() => void>();
  readonly answers = new Answers(this);
  /** Threads that hold more than the server does: a running answer, or a question that was not sent. */
  private kept = new Map<string, Thread>();
  /** Unsent texts, by conversation; in memory only. */
  private drafts = new Map<string, string>();
  private listRead = 0;
  private rereading = 0;

  state: State = {
    me: null,
    meFault: null,
    list: { items: [], cursor: null, query: "", loading: true, fault: null },
    thread: emptyThread(newId()),
    choice: "tuned",
    running: new Set(),
    notice: null,
    said: null,
  };

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  // --- who asks, and what can be asked

  async readMe(): Promise<void> {
    try {
      const me = await api.me();
      const usable = me.models.find((model) => model.available) ?? me.models[0];
      const known = this.state.choice === "compare" ? me.compare : me.models.some(({ id, available }) => id === this.state.choice && available);
      window.clearTimeout(this.rereading);
      if (me.models.some(({ available }) => !available)) this.rereading = window.setTimeout(() => void this.readMe(), REREAD_MS);
      this.set({ me, meFault: null, choice: known ? this.state.choice : (usable?.id ?? "tuned") });
    } catch (error) {
      this.set({ meFault: faultOf(error) });
    }
  }

  choose(choice: Choice): void {
    this.set({ choice });
  }

  closeNotice(): void {
    this.set({ notice: null });
  }

  // --- the list of conversations

  async readList(query = this.state.list.query, more = false): Promise<void> {
    const read = ++this.listRead;
    const { list } = this.state;
    this.set({ list: { ...list, query, loading: true, fault: null } });
    try {
      const found = await api.conversations(more ? list.cursor : null, query);
      if (read !== this.listRead) return;
      const known = new Set(found.conversations.map(({ id }) => id));
      const items = more ? [...list.items.filter(({ id }) => !known.has(id)), ...found.conversations] : found.conversations;
      this.set({ list: { items, cursor: found.cursor, query, loading: false, fault: null } });
    } catch (error) {
      if (read === this.listRead) this.set({ list: { ...this.state.list, loading: false, fault: faultOf(error) } });
    }
  }

  toList(conversation: Conversation, onTop: boolean): void {
    const { list } = this.state;
    const present = list.items.some(({ id }) => id === conversation.id);
    if (!present && list.query) return;
    const rest = list.items.filter(({ id }) => id !== conversation.id);
    const items = onTop || !present ? [conversation, ...rest] : list.items.map((item) => (item.id === conversation.id ? conversation : item));
    this.set({ list: { ...list, items } });
  }

  async rename(id: string, title: string): Promise<void> {
    const conversation = await api.patch(id, { title });
    this.toList(conversation, false);
    this.change(id, (thread) => ({ ...thread, conversation }));
  }

  async remove(id: string): Promise<void> {
    await api.remove(id);
    this.forget([id]);
  }

  async removeAll(): Promise<void> {
    await api.removeAll();
    this.forget([...this.state.list.items.map((item) => item.id), ...this.kept.keys(), this.state.thread.id]);
    this.set({ list: { ...this.state.list, items: [], cursor: null } });
  }

  private forget(ids: string[]): void {
    const gone = new Set(ids);
    this.answers.abandon(gone);
    for (const id of gone) {
      this.kept.delete(id);
      this.drafts.delete(id);
    }
    this.set({ list: { ...this.state.list, items: this.state.list.items.filter(({ id }) => !gone.has(id)) } });
    if (gone.has(this.state.thread.id)) this.openNew();
  }

  // --- the open conversation

  draft(id: string): string {
    return this.drafts.get(id) ?? "";
  }

  keepDraft(id: string, text: string): void {
    if (text) this.drafts.set(id, text);
    else this.drafts.delete(id);
  }

  openNew(): void {
    this.set({ thread: emptyThread(newId()), said: null });
    if (location.hash && location.hash !== "#/") history.pushState(null, "", "#/");
  }

  /** Opens what the address names. */
  openAddress(): void {
    const id = /^#\/c\/([\w-]{8,64})$/.exec(location.hash)?.[1];
    if (!id) this.set({ thread: emptyThread(newId()), said: null });
    else if (id !== this.state.thread.id || !this.state.thread.conversation) void this.open(id);
  }

  async open(id: string): Promise<void> {
    if (location.hash !== `#/c/${id}`) history.pushState(null, "", `#/c/${id}`);
    const kept = this.kept.get(id);
    this.set({ thread: kept ?? { ...emptyThread(id), loading: true }, said: null });
    if (!kept) await this.read(id);
  }

  /** Reads the whole tree, and takes up an answer that is still being written. */
  async read(id: string): Promise<void> {
    this.change(id, (thread) => ({ ...thread, loading: !thread.tree.size, fault: null }));
    try {
      const { conversation, messages } = await api.conversation(id);
      this.change(id, (thread) => {
        const tree = new Map<string, Node>(messages.map((message) => [message.id, message]));
        for (const node of thread.tree.values()) if (!tree.has(node.id) && (node.unsent || node.fault)) tree.set(node.id, node);
        const head = thread.head && tree.has(thread.head) ? thread.head : conversation.head;
        return { ...thread, conversation, tree, head: head ?? messages.at(-1)?.id ?? null, loading: false, fault: null };
      });
      this.answers.takeUp(id, messages);
    } catch (error) {
      this.change(id, (thread) => ({ ...thread, loading: false, fault: faultOf(error) }));
    }
  }

  change(id: string, how: (thread: Thread) => Thread): void {
    const current = this.state.thread.id === id ? this.state.thread : this.kept.get(id);
    if (!current) return;
    const next = how(current);
    if (this.kept.has(id)) this.kept.set(id, next);
    if (this.state.thread.id === id) this.set({ thread: next });
  }

  keep(id: string): void {
    if (this.state.thread.id === id && !this.kept.has(id)) this.kept.set(id, this.state.thread);
  }

  /** A thread without running answers and unsent questions can be read again from the server. */
  release(id: string): void {
    const thread = this.kept.get(id);
    if (!thread) return;
    if ([...thread.tree.values()].some((node) => node.unsent || node.fault)) return;
    this.kept.delete(id);
  }

  put(id: string, change: Partial<Node> & { id: string }): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.set(change.id, { ...(tree.get(change.id) as Node), ...change });
      return { ...thread, tree };
    });
  }

  without(id: string, message: string): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.delete(message);
      return { ...thread, tree };
    });
  }

  showBranch(node: Node): void {
    const { id } = this.state.thread;
    this.change(id, (thread) => ({ ...thread, head: node.id }));
    const shown = path(this.state.thread.tree, node.id).at(-1);
    // The shown branch is a convenience: when it cannot be stored, the page still shows it.
    if (shown && !node.unsent && !this.busy(id)) {
      api.patch(id, { head: shown.id }).then(
        (conversation) => this.change(id, (thread) => ({ ...thread, conversation })),
        () => undefined,
      );
    }
  }

  sideBySide(question: string, shown: boolean): void {
    this.change(this.state.thread.id, (thread) => {
      const single = new Set(thread.single);
      if (shown) single.delete(question);
      else single.add(question);
      return { ...thread, single };
    });
  }

  busy(conversation: string): boolean {
    return this.state.running.has(conversation);
  }

  nodeOf(id: string, message: string): Node | undefined {
    return (this.state.thread.id === id ? this.state.thread : this.kept.get(id))?.tree.get(message);
  }

  replace(id: string, node: Node, conversation: Conversation): void {
    this.change(id, (thread) => {
      const tree = new Map(thread.tree);
      tree.set(node.id, node);
      return { ...thread, tree, conversation };
    });
    this.toList(conversation, true);
  }

  // --- feedback

  async giveFeedback(message: string, feedback: Feedback): Promise<void> {
    const { id } = this.state.thread;
    const stored = await api.feedback(id, message, feedback);
    this.put(id, { id: message, feedback: stored.feedback });
  }

  async withdrawFeedback(message: string): Promise<void> {
    const { id } = this.state.thread;
    await api.withdraw(id, message);
    this.put(id, { id: message, feedback: null });
  }
}

export const store = new ChatStore();

export function useChat<T>(select: (state: State) => T): T {
  return useSyncExternalStore(store.subscribe, () => select(store.state));
}
